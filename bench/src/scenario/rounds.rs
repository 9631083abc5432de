//! Round trips: update an existing entity, get one by id, and the same against the yardstick.

use std::rc::Rc;
use std::time::Duration;

use super::{Setting, once};
use crate::http::Target;
use crate::load::{Plan, Stamper, run};
use crate::report::Throughput;
use crate::template::Template;

/// A part of the measured time that is driven beforehand, so that caches and pools are warm.
const WARM_UP: f64 = 0.2;

/// Updates existing entities of five attributes.
///
/// # Errors
/// If the broker refuses or cannot be reached.
pub async fn update(setting: &Setting) -> anyhow::Result<Throughput> {
    setting.prepare().await?;
    let templates = setting.updates();
    if let Some(first) = templates.first() {
        once(&setting.target, first).await?;
    }
    measure(setting, &setting.target, &templates).await
}

/// Gets entities by their id.
///
/// # Errors
/// If the broker refuses or cannot be reached.
pub async fn get(setting: &Setting) -> anyhow::Result<Throughput> {
    setting.prepare().await?;
    let templates: Vec<Template> = setting.numbers().map(|number| setting.api.get(&setting.target, number)).collect();
    measure(setting, &setting.target, &templates).await
}

/// Sends to the yardstick what `update` or `get` sends to a broker; it answers `size` bytes.
///
/// # Errors
/// If it cannot be reached.
pub async fn reference(setting: &Setting, is_update: bool, size: usize) -> anyhow::Result<Throughput> {
    let templates: Vec<Template> = setting
        .numbers()
        .map(|number| {
            let like = if is_update { setting.api.update(&setting.target, number) } else { setting.api.get(&setting.target, number) };
            like.redirected(&format!("/answer/{size}"))
        })
        .collect();
    measure(setting, &setting.target, &templates).await
}

async fn measure(setting: &Setting, target: &Target, templates: &[Template]) -> anyhow::Result<Throughput> {
    let plan = Plan { connections: setting.connections, duration: setting.duration, rate: None, server: setting.server };
    let warm_up = Plan { duration: Duration::from_secs_f64(setting.duration.as_secs_f64() * WARM_UP), ..plan.clone() };
    run(target, templates, &Rc::new(Stamper::default()), &warm_up).await?;
    let outcome = run(target, templates, &Rc::new(Stamper::default()), &plan).await?;
    Ok((&outcome).into())
}
