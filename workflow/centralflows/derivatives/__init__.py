"""Derivatives of an objective up to third order, and the leading eigenpairs of its Hessian."""
