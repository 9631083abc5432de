//! How long the hot codecs take: `cargo run --release -p fogflow-ngsi --example codec_speed`.

use std::hint::black_box;
use std::time::Instant;

use fogflow_ngsi::context::Context;
use fogflow_ngsi::{Entity, JsonWriter, Timestamp, ld, v1, v2};

const V1: &[u8] = br#"{"contextElements":[{"entityId":{"id":"Device.temp001","type":"Temperature","isPattern":false},"attributes":[{"name":"temp","type":"float","value":22.5},{"name":"humidity","type":"float","value":60},{"name":"battery","type":"integer","value":80},{"name":"on","type":"boolean","value":true},{"name":"label","type":"string","value":"hall"}],"domainMetadata":[{"name":"location","type":"point","value":{"latitude":49.4,"longitude":8.6}}]}],"updateAction":"UPDATE"}"#;
const LD: &str = r#"{"id":"urn:ngsi-ld:Device:1","type":"Device","temp":{"type":"Property","value":22.5,"unitCode":"CEL"},"humidity":{"type":"Property","value":60},"battery":{"type":"Property","value":80},"on":{"type":"Property","value":true},"location":{"type":"GeoProperty","value":{"type":"Point","coordinates":[8.6,49.4]}}}"#;

/// Prints the best of several rounds, in which other work of the machine disturbs least.
fn measure(what: &str, mut run: impl FnMut()) {
    const TURNS: u32 = 20_000;
    let round = |run: &mut dyn FnMut()| {
        let begun = Instant::now();
        (0..TURNS).for_each(|_| run());
        begun.elapsed() / TURNS
    };
    let best = (0..10).map(|_| round(&mut run)).min().unwrap_or_default();
    println!("{what:32} {:>8.2} µs", best.as_secs_f64() * 1e6);
}

fn main() -> Result<(), fogflow_ngsi::DecodeError> {
    let now = Timestamp::now();
    let core = Context::core();
    let request = v1::UpdateContextRequest::decode(V1, now)?;
    let Some(element) = request.elements.first() else { return Ok(()) };
    let entity = &element.entity;
    let linked = ld::decode_entity(LD, &core, ld::Mode::Entity, now)?;
    let mut out = Vec::with_capacity(4096);
    let mut write = |what: &str, encode: &dyn Fn(&mut Vec<u8>)| {
        measure(what, || {
            out.clear();
            encode(&mut out);
            black_box(&out);
        });
    };
    write("NGSI-10 element, encode", &|out| v1::encode_element(out, entity, &[]));
    write("NGSIv2 entity, encode", &|out| v2::write_entity(&mut JsonWriter::new(out), entity, &v2::View::default()));
    write("NGSI-LD entity, encode", &|out| {
        ld::write_entity(&mut JsonWriter::new(out), &linked, &ld::View::new(&core, ld::Format::Normalized), false);
    });
    write("stored entity, encode", &|out| entity.to_store(out));
    let mut stored = Vec::new();
    entity.to_store(&mut stored);
    measure("NGSI-10 update, decode", || drop(black_box(v1::UpdateContextRequest::decode(V1, now))));
    measure("NGSI-LD entity, decode", || drop(black_box(ld::decode_entity(LD, &core, ld::Mode::Entity, now))));
    measure("stored entity, decode", || drop(black_box(Entity::from_store(&stored))));
    Ok(())
}
