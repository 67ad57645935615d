"""What a study cost, for someone who must justify the spend: hours and money by whom and for what, planned and to come."""
