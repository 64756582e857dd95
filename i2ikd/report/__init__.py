"""Tables, figures, images and the HTML page of a comparison."""
