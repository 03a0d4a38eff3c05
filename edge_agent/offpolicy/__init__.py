"""What another policy would have got, worked out from logged decisions; arrays in, numbers out."""
