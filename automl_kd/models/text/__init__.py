"""Networks that take tokens: encoders as BERT, and recurrent ones."""
