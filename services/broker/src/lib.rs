//! FogFlow context broker: NGSI v1, v2 and NGSI-LD over one engine.
