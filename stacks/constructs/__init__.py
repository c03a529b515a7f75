"""Product-sized parts with typed properties. They create; the stacks wire."""
