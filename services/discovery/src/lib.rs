//! FogFlow discovery: which broker has which entity, and where.
