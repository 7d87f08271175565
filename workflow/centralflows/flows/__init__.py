"""The flows of an optimizer, the discrete run, and the experiment that runs both."""
