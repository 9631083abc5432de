//! `fogflow delete`

use fogflow_client::{Context, Kind};

use crate::cli::Deletable;
use crate::output::print;
use crate::target::Target;

/// Deletes each of the names; one that does not exist is an error after the others were tried.
pub(crate) async fn run(target: &Target, kind: Deletable, names: &[String]) -> anyhow::Result<()> {
    let mut missing = Vec::new();
    for name in names {
        let existed = match kind {
            Deletable::Entity => target.broker.delete_entity(name, &Context::default()).await?,
            Deletable::Operator => target.designer.delete(Kind::Operator, name).await?,
            Deletable::Topology => target.designer.delete(Kind::Topology, name).await?,
            Deletable::Function => target.designer.delete(Kind::FogFunction, name).await?,
            Deletable::Intent => target.designer.delete(Kind::ServiceIntent, name).await?,
            Deletable::Device => target.designer.delete(Kind::Device, name).await?,
            Deletable::Subscription => target.designer.delete(Kind::Subscription, name).await?,
        };
        if existed {
            print(&format!("{name} deleted\n"))?;
        } else {
            missing.push(name.as_str());
        }
    }
    anyhow::ensure!(missing.is_empty(), "there is no {}", missing.join(", "));
    Ok(())
}
