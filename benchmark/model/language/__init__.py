"""Language models: answers by generation and by the likelihood of choices."""
