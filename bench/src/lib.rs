//! Load generator and scenarios for any NGSI broker.
