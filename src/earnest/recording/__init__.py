"""How the examples of the API's description are made: a scenario, told and recorded."""
