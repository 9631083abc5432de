//! `pick` and `omit`: which members of entities are shown (ETSI GS CIM 009, clause 4.21).

use fogflow_ngsi::Name;
use fogflow_ngsi::context::Context;
use fogflow_ngsi::ld::Hidden;

use super::reply::Fault;
use crate::face::params::Params;

/// What is shown of an entity, and of those behind its relationships.
#[derive(Debug, Default)]
pub(crate) struct Projection {
    /// Attributes that are picked, if any is.
    pub(crate) pick: Vec<Name>,
    /// Attributes that are left out.
    pub(crate) omit: Vec<Name>,
    /// The other members that are left out.
    pub(crate) hidden: Hidden,
    picks: bool,
    linked: Vec<(Name, Projection)>,
}

/// How deep braces may be nested.
const MAX_NESTING: usize = 8;

/// Whether a text can be the name of an attribute.
pub(super) fn is_name(text: &str) -> bool {
    let good = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | ':' | '/' | '.' | '#' | '@' | '%' | '~' | '+');
    !text.is_empty() && text.chars().all(good)
}

impl Projection {
    /// From parameters.
    pub(super) fn of(params: &Params, context: &Context) -> Result<Self, Fault> {
        let (pick, omit) = (params.get("pick"), params.get("omit"));
        if params.get("attrs").is_some() && (pick.is_some() || omit.is_some()) {
            return Err(Fault::bad("attrs: goes neither with pick nor with omit"));
        }
        Projection::parse(pick, omit, context, MAX_NESTING)
    }

    fn parse(pick: Option<&str>, omit: Option<&str>, context: &Context, nesting: usize) -> Result<Self, Fault> {
        let nesting = nesting.checked_sub(1).ok_or_else(|| Fault::bad("pick: the braces are nested too deep"))?;
        let (pick, omit) = (members(pick, "pick")?, members(omit, "omit")?);
        // A member with braces in `omit` is not left out itself.
        let is_picked = |name: &str| pick.iter().any(|(picked, _)| *picked == name);
        let is_omitted = |name: &str| omit.iter().any(|(omitted, inner)| *omitted == name && inner.is_none());
        if let Some((both, _)) = pick.iter().find(|(name, _)| is_omitted(name)) {
            return Err(Fault::bad(format!("omit: `{both}` is in pick as well")));
        }
        let picks = !pick.is_empty();
        let hides = |name: &str| picks && !is_picked(name) || is_omitted(name);
        let hidden = Hidden { id: hides("id"), entity_type: hides("type"), scope: hides("scope") };
        let is_attribute = |name: &&str| !matches!(*name, "id" | "type" | "scope");
        let mut picked: Vec<Name> = pick.iter().map(|(name, _)| *name).filter(is_attribute).map(|name| context.expand(name)).collect();
        if picks && picked.is_empty() {
            // Of the attributes none is picked; an empty list would mean all of them.
            picked.push(Name::new(""));
        }
        let left_out = omit.iter().filter(|(_, inner)| inner.is_none()).map(|(name, _)| *name).filter(is_attribute);
        let omitted = left_out.map(|name| context.expand(name)).collect();
        let mut linked = Vec::new();
        for (name, inner) in pick.iter().chain(&omit) {
            let expanded = context.expand(name);
            if inner.is_none() || linked.iter().any(|(known, _)| *known == expanded) {
                continue;
            }
            let within = |list: &[(&str, Option<&str>)]| -> Option<String> {
                list.iter().find(|(other, _)| other == name).and_then(|(_, inner)| inner.map(str::to_owned))
            };
            let (inner_pick, inner_omit) = (within(&pick), within(&omit));
            linked.push((expanded, Projection::parse(inner_pick.as_deref(), inner_omit.as_deref(), context, nesting)?));
        }
        Ok(Projection { pick: picked, omit: omitted, hidden, picks, linked })
    }

    /// What is shown of the entities behind a relationship; `None` for all.
    pub(crate) fn linked(&self, name: &Name) -> Option<&Projection> {
        self.linked.iter().find(|(known, _)| known == name).map(|(_, projection)| projection)
    }

    /// Whether `pick` is given.
    pub(super) fn picks(&self) -> bool {
        self.picks
    }

    /// Whether a member that every entity has is shown.
    pub(super) fn shows_core(&self) -> bool {
        !self.hidden.id || !self.hidden.entity_type
    }
}

/// The names of a list, each with the text in the braces behind it.
fn members<'a>(text: Option<&'a str>, list: &str) -> Result<Vec<(&'a str, Option<&'a str>)>, Fault> {
    let Some(text) = text else { return Ok(Vec::new()) };
    let fault = |why: &str| Fault::bad(format!("{list}: {why}"));
    let mut names = Vec::new();
    let mut rest = text;
    loop {
        let end = rest.find([',', '{', '}']).unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        if !is_name(name) {
            return Err(fault(&format!("`{name}` is no member name")));
        }
        rest = after;
        let mut inner = None;
        if rest.starts_with('{') {
            let next = braces(rest).ok_or_else(|| fault("the braces are not those of a list of names"))?;
            inner = Some(&rest[1..rest.len() - next.len() - 1]);
            rest = next;
        }
        names.push((name, inner));
        match rest.strip_prefix(',') {
            Some(next) => rest = next,
            None if rest.is_empty() => return Ok(names),
            None => return Err(fault(&format!("`{rest}` is not understood"))),
        }
    }
}

/// What follows the braces with which a text begins, if there is a list of names in them.
fn braces(text: &str) -> Option<&str> {
    let mut rest = text.strip_prefix('{')?;
    // Each turn reads a name and what follows it; `depth` counts the braces that are open.
    let mut depth = 1_usize;
    loop {
        let end = rest.find([',', '{', '}'])?;
        if !is_name(&rest[..end]) {
            return None;
        }
        rest = &rest[end..];
        if let Some(inner) = rest.strip_prefix('{') {
            depth += 1;
            rest = inner;
            continue;
        }
        while let Some(outer) = rest.strip_prefix('}') {
            depth -= 1;
            rest = outer;
            if depth == 0 {
                return Some(rest);
            }
        }
        rest = rest.strip_prefix(',')?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn braces_hold_lists_of_names() {
        assert_eq!(braces("{a,b},c"), Some(",c"));
        assert_eq!(braces("{a{b,c},d}"), Some(""));
        for bad in ["{a", "{{a}}", "{}", "{,a}", "{a,}", "{a;b}"] {
            assert_eq!(braces(bad), None, "{bad}");
        }
    }
}
