"""What all pages share: the page template, number formats, wording, general figures."""
