//! The faces: each decodes requests of one protocol into calls of the [engine](crate::engine) and encodes its answers.

pub mod ld;
pub(crate) mod linked;
mod params;
pub mod peer;
pub mod v1;
pub mod v2;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    #[test]
    fn every_body_and_every_answer_is_described_but_of_routes_that_only_say_that_an_id_is_missing() {
        let routes = super::v1::routes(1).merge(super::v2::routes(1)).merge(super::ld::routes(1)).merge(super::peer::routes());
        let missing = ["/ngsi-ld/v1/entities/", "/ngsi-ld/v1/entities//attrs/{attribute}"];
        let bodies: Vec<&str> = routes.bodies_without_schema().map(|(_, path)| path).collect();
        assert_eq!(bodies, [missing[0], missing[0], missing[1], missing[1]]);
        let answers: BTreeSet<&str> = routes.answers_without_schema().map(|(_, path)| path).collect();
        assert_eq!(answers, BTreeSet::from(missing));
    }
}
