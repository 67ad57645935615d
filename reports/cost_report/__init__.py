"""What a study cost, for someone who must justify it: hours and money by owner and purpose, planned and to come."""
