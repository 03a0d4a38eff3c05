"""What is true of visits, baskets and profiles after an event, given what was true before."""
