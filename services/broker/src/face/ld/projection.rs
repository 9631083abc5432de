//! `pick` and `omit`: which members of entities are shown (ETSI GS CIM 009, clause 4.21).

use fogflow_ngsi::Name;
use fogflow_ngsi::context::Context;
use fogflow_ngsi::ld::Hidden;

use super::reply::Fault;
use crate::face::params::Params;

/// What is shown of an entity.
#[derive(Debug, Default)]
pub(super) struct Projection {
    /// Attributes that are picked, if any is.
    pub(super) pick: Vec<Name>,
    /// Attributes that are left out.
    pub(super) omit: Vec<Name>,
    /// The other members that are left out.
    pub(super) hidden: Hidden,
    picks: bool,
}

/// Whether a text can be the name of an attribute.
pub(super) fn is_name(text: &str) -> bool {
    let good = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | ':' | '/' | '.' | '#' | '@' | '%' | '~' | '+');
    !text.is_empty() && text.chars().all(good)
}

impl Projection {
    /// From parameters.
    pub(super) fn of(params: &Params, context: &Context) -> Result<Self, Fault> {
        let (pick, omit) = (members(params, "pick")?, members(params, "omit")?);
        if params.get("attrs").is_some() && !(pick.is_empty() && omit.is_empty()) {
            return Err(Fault::bad("attrs: goes neither with pick nor with omit"));
        }
        if let Some(both) = pick.iter().find(|name| omit.contains(name)) {
            return Err(Fault::bad(format!("omit: `{both}` is in pick as well")));
        }
        let picks = !pick.is_empty();
        let hides = |name: &str| picks && !pick.contains(&name) || omit.contains(&name);
        let hidden = Hidden { id: hides("id"), entity_type: hides("type"), scope: hides("scope") };
        let names = |list: &[&str]| -> Vec<Name> {
            list.iter().filter(|name| !matches!(**name, "id" | "type" | "scope")).map(|name| context.expand(name)).collect()
        };
        let mut pick = names(&pick);
        if picks && pick.is_empty() {
            // Of the attributes none is picked; an empty list would mean all of them.
            pick.push(Name::new(""));
        }
        Ok(Projection { pick, omit: names(&omit), hidden, picks })
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

/// The names of a list; what is in braces is for linked entities and only checked.
fn members<'a>(params: &'a Params, list: &str) -> Result<Vec<&'a str>, Fault> {
    let Some(text) = params.get(list) else { return Ok(Vec::new()) };
    let fault = |why: &str| Fault::bad(format!("{list}: {why}"));
    let mut names = Vec::new();
    let mut rest = text;
    loop {
        let end = rest.find([',', '{', '}']).unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        if !is_name(name) {
            return Err(fault(&format!("`{name}` is no member name")));
        }
        names.push(name);
        rest = after;
        if rest.starts_with('{') {
            rest = braces(rest).ok_or_else(|| fault("the braces are not those of a list of names"))?;
        }
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
