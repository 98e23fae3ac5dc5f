"""What reading, generating and feeding events costs, against what they cannot do without."""
