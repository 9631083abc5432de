//! Daily weather of Seattle, 2012 to 2015 (`examples/data/SOURCE.md`), as updates of one entity.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use fogflow_chassis::CancellationToken;
use fogflow_client::{BrokerClient, Context};
use serde_json::json;

const DATA: &str = include_str!("../../../../examples/data/seattle-weather.csv");
const HEADER: &str = "date,precipitation,temp_max,temp_min,wind,weather";
/// Seattle-Tacoma airport, where the measurements were made.
const LATITUDE: f64 = 47.4489;
const LONGITUDE: f64 = -122.3094;

/// One day.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Reading {
    date: String,
    precipitation: f64,
    temp_max: f64,
    temp_min: f64,
    wind: f64,
    weather: String,
}

/// All days in order.
pub(super) fn readings() -> anyhow::Result<Arc<[Reading]>> {
    let mut lines = DATA.lines();
    anyhow::ensure!(lines.next() == Some(HEADER), "the data set has other columns than expected");
    lines.enumerate().map(|(index, line)| parse(line).with_context(|| format!("line {} of the data set", index + 2))).collect()
}

fn parse(line: &str) -> Option<Reading> {
    let mut fields = line.split(',');
    let date = fields.next()?.to_owned();
    let mut number = || fields.next()?.parse::<f64>().ok();
    let (precipitation, temp_max, temp_min, wind) = (number()?, number()?, number()?, number()?);
    let weather = fields.next()?.to_owned();
    fields.next().is_none().then_some(Reading { date, precipitation, temp_max, temp_min, wind, weather })
}

/// Sends day after day, and begins again after the last. Ends with an error when the broker refuses or is away; the supervisor
/// begins again.
pub(super) async fn replay(
    broker: BrokerClient,
    readings: Arc<[Reading]>,
    pause: Duration,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let mut ticks = tokio::time::interval(pause);
    // After a slow answer the replay goes on at its speed instead of catching up.
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    for reading in readings.iter().cycle() {
        tokio::select! {
            _ = ticks.tick() => {}
            () = shutdown.cancelled() => return Ok(()),
        }
        broker.update_raw(update(reading), &Context::default()).await?;
    }
    Ok(())
}

/// NGSI v1 `updateContext` with one day.
fn update(reading: &Reading) -> Bytes {
    let float = |name: &str, value: f64, unit: &str| json!({ "name": name, "type": "float", "value": value, "metadata": [{ "name": "unit", "type": "string", "value": unit }] });
    let text = |name: &str, value: &str| json!({ "name": name, "type": "string", "value": value });
    let body = json!({
        "contextElements": [{
            "entityId": { "id": "WeatherStation.seattle", "type": "WeatherStation" },
            "attributes": [
                text("date", &reading.date),
                float("precipitation", reading.precipitation, "mm"),
                float("temp_max", reading.temp_max, "C"),
                float("temp_min", reading.temp_min, "C"),
                float("wind", reading.wind, "m/s"),
                text("weather", &reading.weather),
            ],
            "domainMetadata": [
                { "name": "location", "type": "point", "value": { "latitude": LATITUDE, "longitude": LONGITUDE } },
                { "name": "city", "type": "string", "value": "Seattle" },
            ],
        }],
        "updateAction": "UPDATE",
    });
    Bytes::from(body.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_data_set_is_whole_and_its_first_day_is_told_as_an_update() {
        let readings = readings().unwrap();
        assert_eq!(readings.len(), 1461);
        let body: serde_json::Value = serde_json::from_slice(&update(&readings[0])).unwrap();
        let element = &body["contextElements"][0];
        assert_eq!(element["attributes"][0]["value"], "2012/01/01");
        assert_eq!(element["attributes"][2]["value"], 12.8);
        assert_eq!(element["domainMetadata"][0]["value"]["latitude"], LATITUDE);
    }

    #[test]
    fn a_line_with_a_wrong_number_or_too_many_columns_is_refused() {
        assert!(parse("2012/01/01,0.0,12.8,5.0,4.7,drizzle").is_some());
        for line in ["2012/01/01,x,12.8,5.0,4.7,drizzle", "2012/01/01,0.0,12.8,5.0,4.7", "2012/01/01,0.0,12.8,5.0,4.7,drizzle,more", ""] {
            assert_eq!(parse(line), None, "{line}");
        }
    }
}
