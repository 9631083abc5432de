//! Which entities are meant and how they are shown: from parameters or from a query in a body, to the engine's filter.

use fogflow_ngsi::context::Context;
use fogflow_ngsi::ld::{Format, View};
use fogflow_ngsi::query::{Dialect, GeoQuery, Query, ScopeQuery, TypeQuery, pattern};
use fogflow_ngsi::{DecodeError, Entity, Name, ld};
use serde_json::Value;
use smol_str::{SmolStr, format_smolstr};

use super::call::Call;
use super::projection::{self, Projection};
use super::reply::Fault;
use crate::engine;
use crate::face::linked::Links;
use crate::filter::{EntitySelector, Filter};
use crate::restriction;
use crate::state::SharedEntity;

/// How entities are shown.
pub(super) struct Shape {
    pub(super) format: Format,
    pub(super) sys_attrs: bool,
    /// Attributes that are shown; empty for all.
    pub(super) attributes: Vec<Name>,
    pub(super) projection: Projection,
    join: String,
    join_level: u8,
    pub(super) lang: String,
    /// What places a GeoJSON feature.
    pub(super) geometry: Name,
    dataset_ids: Vec<String>,
}

impl Shape {
    /// From parameters.
    pub(super) fn of(call: &Call, context: &Context) -> Result<Self, Fault> {
        let params = &call.params;
        let projection = Projection::of(params, context)?;
        if params.get("attrs").is_some() && params.list("attrs").is_empty() {
            return Err(Fault::bad("attrs: is empty"));
        }
        let attributes = params.list("attrs").into_iter().map(|term| context.expand(term)).collect();
        let format = match params.get("format") {
            Some("simplified" | "keyValues") => Format::Simplified,
            Some("concise") => Format::Concise,
            Some("normalized") => Format::Normalized,
            Some(other) => return Err(Fault::invalid(format!("format: `{other}` is no representation"))),
            None if params.option("keyValues") || params.option("simplified") => Format::Simplified,
            None if params.option("concise") => Format::Concise,
            None => Format::Normalized,
        };
        Ok(Shape {
            format,
            sys_attrs: params.option("sysAttrs") || params.flag("sysAttrs"),
            attributes,
            projection,
            join: match params.get("join") {
                None | Some("@none") => String::new(),
                Some(join @ ("inline" | "flat")) => join.to_owned(),
                Some(other) => return Err(Fault::bad(format!("join: `{other}` is neither inline nor flat"))),
            },
            join_level: params.number("joinLevel").map_err(Fault::bad)?.map_or(1, |level| level.clamp(1, 8) as u8),
            lang: params.get("lang").unwrap_or_default().to_owned(),
            geometry: context.expand(params.get("geometryProperty").unwrap_or("location")),
            dataset_ids: params.list("datasetId").into_iter().map(str::to_owned).collect(),
        })
    }

    /// What a query in a body says of linked entities.
    pub(super) fn read_join(&mut self, body: &serde_json::Map<String, Value>) -> Result<(), Fault> {
        match body.get("join").map(|join| join.as_str().unwrap_or_default()) {
            None | Some("@none") => {}
            Some(join @ ("inline" | "flat")) => join.clone_into(&mut self.join),
            Some(_) => return Err(Fault::bad("join: must be inline, flat or @none")),
        }
        if let Some(level) = body.get("joinLevel").and_then(Value::as_u64) {
            self.join_level = level.clamp(1, 8) as u8;
        }
        Ok(())
    }

    /// Whether linked entities stand beside the others and not inside of them.
    pub(super) fn is_flat(&self) -> bool {
        self.join == "flat"
    }

    /// The linked entities that are shown.
    pub(super) fn links<'a>(&'a self, find: &'a dyn Fn(&str) -> Option<SharedEntity>) -> Links<'a> {
        Links::new(&self.join, self.join_level, find)
    }

    /// Whether anything of the entity is left to show.
    pub(super) fn shows_something(&self, entity: &Entity) -> bool {
        let has = |names: &[Name]| entity.attributes.iter().any(|attribute| names.contains(&attribute.name));
        if !self.attributes.is_empty() {
            return has(&self.attributes);
        }
        if self.projection.shows_core() {
            return true;
        }
        match self.projection.picks() {
            true => has(&self.projection.pick),
            false => entity.attributes.iter().any(|attribute| !self.projection.omit.contains(&attribute.name)),
        }
    }

    /// The `datasetId`s that are shown; empty for all.
    pub(super) fn datasets(&self) -> Vec<&str> {
        self.dataset_ids.iter().map(String::as_str).collect()
    }

    pub(super) fn view<'a>(&'a self, context: &'a Context, datasets: &'a [&'a str]) -> View<'a> {
        View {
            sys_attrs: self.sys_attrs,
            pick: if self.projection.picks() { &self.projection.pick } else { &self.attributes },
            omit: &self.projection.omit,
            hidden: self.projection.hidden,
            datasets,
            lang: &self.lang,
            ..View::new(context, self.format)
        }
    }
}

/// Which entities.
#[derive(Default)]
pub(super) struct Selection {
    selectors: Vec<EntitySelector>,
    attributes: Vec<Name>,
    q: Option<Query>,
    geo: Option<GeoQuery>,
    scope_q: String,
    local: bool,
}

/// The selectors that a list of ids, a pattern and a type selection make.
pub(super) fn selectors(ids: &[SmolStr], id_pattern: Option<SmolStr>, types: Option<&TypeQuery>) -> Vec<EntitySelector> {
    let (types, type_query) = match types.map(|query| (query.alternatives(), query)) {
        Some((Some(types), _)) => (types, None),
        Some((None, query)) => (Vec::new(), Some(format_smolstr!("{query}"))),
        None => (Vec::new(), None),
    };
    let one = |id: Option<&SmolStr>| EntitySelector {
        id: id.cloned(),
        id_pattern: id_pattern.clone(),
        types: types.clone(),
        type_query: type_query.clone(),
        type_pattern: None,
    };
    if ids.is_empty() { vec![one(None)] } else { ids.iter().map(|id| one(Some(id))).collect() }
}

impl Selection {
    /// From the parameters of `GET /entities`.
    pub(super) fn of(call: &Call, context: &Context) -> Result<Self, Fault> {
        let params = &call.params;
        let expand = |term: &str| context.expand(term);
        let named = |field: &'static str| move |error: DecodeError| Fault::from(error.within(field));
        for name in ["type", "id", "idPattern", "attrs", "pick", "omit", "q", "georel", "scopeQ"] {
            if params.get(name).is_some_and(|value| value.trim().is_empty()) {
                return Err(Fault::bad(format!("{name}: is empty")));
            }
        }
        let types = params.get("type").map(|text| TypeQuery::parse(text, &expand)).transpose().map_err(named("type"))?;
        let ids: Vec<SmolStr> = params.list("id").into_iter().map(SmolStr::new).collect();
        if !call.lenient {
            ids.iter().try_for_each(|id| ld::check_uri(id)).map_err(named("id"))?;
        }
        let id_pattern =
            params.get("idPattern").map(|text| pattern(text).map(|_| SmolStr::new(text))).transpose().map_err(named("idPattern"))?;
        let q = params.get("q").map(|text| Query::parse(text, Dialect::Ld, &expand)).transpose().map_err(named("q"))?;
        let scope_q = params.get("scopeQ").unwrap_or_default().to_owned();
        if !scope_q.is_empty() {
            ScopeQuery::parse(&scope_q).map_err(named("scopeQ"))?;
        }
        let geo = geo(call, context)?;
        if let Some(bad) = params.list("attrs").into_iter().find(|name| !projection::is_name(name) || matches!(*name, "id" | "type")) {
            return Err(Fault::bad(format!("attrs: `{bad}` is no attribute name")));
        }
        let attributes: Vec<Name> = params.list("attrs").into_iter().map(expand).collect();
        let given = types.is_some() || q.is_some() || geo.is_some() || !attributes.is_empty() || !scope_q.is_empty();
        let local = params.flag("local");
        if !given && !local && !(call.lenient && (!ids.is_empty() || id_pattern.is_some())) {
            return Err(Fault::bad("one of type, attrs, q, georel, scopeQ or local=true is needed"));
        }
        let selectors = selectors(&ids, id_pattern, types.as_ref());
        Ok(Selection { selectors, attributes, q, geo, scope_q, local })
    }

    /// From a `Query` in a body (clause 5.2.23) with expanded names.
    pub(super) fn of_body(body: &serde_json::Map<String, Value>, call: &Call, context: &Context) -> Result<Self, Fault> {
        let expand = |term: &str| context.expand(term);
        if body.get("type").and_then(Value::as_str) != Some("Query") {
            return Err(Fault::bad("type: must be `Query`"));
        }
        // The members that queries and subscriptions share are read as those of a subscription.
        let shared = ["entities", "q", "geoQ", "scopeQ"].into_iter().filter_map(|key| Some((key.to_owned(), body.get(key)?.clone())));
        let document = ld::subscription::expand(shared.collect(), context, ld::subscription::Form::Patch)?;
        let read = ld::subscription::Subscription::read(&document)?;
        let mut found = Vec::new();
        for selector in &read.entities {
            found.extend(selectors(&selector.ids, selector.id_pattern.clone(), selector.types.as_ref()));
        }
        let attributes = body.get("attrs").or_else(|| body.get("pick"));
        let names = attributes.map(|list| list.as_array().ok_or_else(|| Fault::bad("attrs: must be an array"))).transpose()?;
        let attributes: Vec<Name> = names.into_iter().flatten().filter_map(Value::as_str).map(expand).collect();
        let local = call.params.flag("local");
        let given = !found.is_empty() || read.q.is_some() || read.geo.is_some() || !attributes.is_empty() || read.scope_q.is_some();
        if !given && !local {
            return Err(Fault::bad("one of entities, attrs, q, geoQ or scopeQ is needed"));
        }
        if found.is_empty() {
            found.push(EntitySelector::default());
        }
        Ok(Selection {
            selectors: found,
            attributes,
            q: read.q,
            geo: read.geo,
            scope_q: read.scope_q.map(String::from).unwrap_or_default(),
            local,
        })
    }

    /// The engine's query for one page.
    pub(super) fn query(self, page: Page) -> Result<engine::Query, Fault> {
        let mut filter = Filter::of(self.selectors).map_err(Fault::bad)?;
        filter.any_attribute = self.attributes;
        let restricted = self.geo.as_ref().map(restriction::of_geo).unwrap_or_default();
        filter.conditions.extend(self.q.map(restriction::attributes));
        filter.conditions.extend(self.geo.map(restriction::geo));
        filter.conditions.extend(restriction::conditions(&Default::default(), "", "", &self.scope_q).map_err(Fault::bad)?);
        Ok(engine::Query {
            restriction: restricted,
            offset: page.offset,
            // One more, to know whether there is a next page.
            limit: page.limit.saturating_add(1),
            count: page.count,
            local: self.local,
            ..engine::Query::all(filter)
        })
    }
}

fn geo(call: &Call, context: &Context) -> Result<Option<GeoQuery>, Fault> {
    let parts = ["georel", "geometry", "coordinates"].map(|name| call.params.get(name));
    match parts {
        [None, None, None] => Ok(None),
        [Some(georel), Some(geometry), Some(coordinates)] => {
            let property = context.expand(call.params.get("geoproperty").unwrap_or("location"));
            Ok(Some(GeoQuery::parse(georel, geometry, coordinates, property)?))
        }
        _ => Err(Fault::bad("georel, geometry and coordinates go together")),
    }
}

/// Which part of the result.
#[derive(Clone, Copy)]
pub(super) struct Page {
    pub(super) offset: usize,
    pub(super) limit: usize,
    pub(super) count: bool,
}

/// Entities on a page when a client does not say.
const PAGE: usize = 20;

impl Page {
    /// From parameters; `most` is the largest page.
    pub(super) fn of(call: &Call, most: usize) -> Result<Self, Fault> {
        let limit = call.params.number("limit").map_err(Fault::bad)?.unwrap_or(PAGE);
        let count = call.params.flag("count") || call.params.option("count");
        if limit == 0 && !count {
            return Err(Fault::bad("limit: may be 0 only with count=true"));
        }
        if limit > most {
            return Err(Fault::new(ld::ProblemType::TooManyResults, format!("limit: {limit} is more than {most}")));
        }
        let offset = call.params.number("offset").map_err(Fault::bad)?.unwrap_or(0);
        Ok(Page { offset, limit, count })
    }
}
