"""Browser pages for screens, staff and the store; they see what any screen on the broker sees.

`server` holds the link and the HTTP server together, `board` what the store's screens show now,
`feedback` which answers of a page are believed, `app` the routes, `pages` the HTML. Nothing here
decides anything, and no page loads anything from outside.
"""
