//! Geo queries among so many entities that the index of places answers them.

use std::collections::BTreeMap;

use fogflow_ngsi::geometry::distance_of_points;
use geo::Point;
use serde_json::{Value, json};

use crate::harness::Broker;

/// A broker with 2 500 entities on a grid, about 1 km apart, and what a scan of them would see.
struct Grid {
    broker: Broker,
    places: BTreeMap<String, Point<f64>>,
}

const HERE: (f64, f64) = (8.2512, 49.2487);

impl Grid {
    async fn new() -> Self {
        let mut grid = Grid { broker: Broker::alone().await, places: BTreeMap::new() };
        let all: Vec<(String, Point<f64>)> =
            (0..2500).map(|n| (format!("e{n:04}"), Point::new(8.0 + f64::from(n % 50) * 0.01, 49.0 + f64::from(n / 50) * 0.01))).collect();
        grid.put(&all).await;
        grid
    }

    async fn put(&mut self, all: &[(String, Point<f64>)]) {
        let element = |(id, at): &(String, Point<f64>)| {
            json!({"entityId": {"id": id, "type": "T"}, "attributes": [{"name": "a", "type": "float", "value": 1}], "domainMetadata": [
                {"name": "location", "type": "point", "value": {"latitude": at.y(), "longitude": at.x()}}]})
        };
        let elements: Vec<Value> = all.iter().map(element).collect();
        let reply = self.broker.post("/ngsi10/updateContext", &json!({"contextElements": elements, "updateAction": "UPDATE"})).await;
        assert_eq!(reply.status, 200, "{}", reply.text);
        self.places.extend(all.iter().cloned());
    }

    async fn delete(&mut self, id: &str) {
        assert_eq!(self.broker.send("DELETE", &format!("/ngsi10/entity/{id}"), &[], "").await.status, 200);
        self.places.remove(id);
    }

    /// The ids that a scope of NGSI v1 finds, in the order of the answer.
    async fn scope(&self, kind: &str, value: Value) -> Vec<String> {
        let query = json!({"entities": [{"type": "T"}], "restriction": {"scopes": [{"scopeType": kind, "scopeValue": value}]}});
        let reply = self.broker.post("/ngsi10/queryContext", &query).await;
        let found = reply.json["contextResponses"].as_array().unwrap_or_else(|| panic!("{}", reply.text)).iter();
        found.map(|one| one["contextElement"]["entityId"]["id"].as_str().unwrap().to_owned()).collect()
    }

    /// The ids that a `GET` finds.
    async fn get(&self, query: &str) -> Vec<String> {
        let reply = self.broker.get(query).await;
        let found = reply.json.as_array().unwrap_or_else(|| panic!("{}", reply.text)).iter();
        found.map(|one| one["id"].as_str().unwrap().to_owned()).collect()
    }

    fn within(&self, metres: f64) -> Vec<String> {
        self.nearest().into_iter().take_while(|(distance, _)| *distance <= metres).map(|(_, id)| id).collect()
    }

    fn nearest(&self) -> Vec<(f64, String)> {
        let from = Point::new(HERE.0, HERE.1);
        let mut all: Vec<_> = self.places.iter().map(|(id, place)| (distance_of_points(from, *place), id.clone())).collect();
        all.sort_by(|a, b| a.partial_cmp(b).unwrap());
        all
    }
}

fn sorted(mut ids: Vec<String>) -> Vec<String> {
    ids.sort();
    ids
}

/// Asks by every face, and compares with what a scan sees.
async fn compare(grid: &Grid) {
    let (x, y) = HERE;
    let near = sorted(grid.within(5000.0));
    assert!(near.len() > 50, "{}", near.len());
    let circle = json!({"centerLatitude": y, "centerLongitude": x, "radius": 5000});
    assert_eq!(sorted(grid.scope("circle", circle).await), near);
    let ld = format!("/ngsi-ld/v1/entities?type=T&georel=near;maxDistance==5000&geometry=Point&coordinates=[{x},{y}]&limit=1000");
    assert_eq!(sorted(grid.get(&ld).await), near);
    let v2 = format!("/v2/entities?type=T&georel=near;maxDistance:5000&geometry=point&coords={y},{x}&limit=1000");
    assert_eq!(sorted(grid.get(&v2).await), near);
    let page = format!("{v2}&limit=7&offset=20").replace("&limit=1000", "");
    assert_eq!(grid.get(&page).await, grid.get(&v2).await[20..27], "pages are parts of one list");

    let far = "/v2/entities?type=T&georel=near;minDistance:5000&geometry=point&coords=49.2487,8.2512&limit=1000&options=count";
    let total = grid.broker.get(far).await.headers["fiware-total-count"].to_str().unwrap().parse::<usize>().unwrap();
    assert_eq!(total, grid.places.len() - near.len(), "what is not near is found by a scan");

    let closest: Vec<String> = grid.nearest().into_iter().take(10).map(|(_, id)| id).collect();
    assert_eq!(grid.scope("nearby", json!({"latitude": y, "longitude": x, "limit": 10})).await, closest, "nearest first");
}

#[tokio::test]
async fn geo_queries_among_many_entities_find_what_a_scan_finds_also_after_some_moved_and_some_are_gone() {
    let mut grid = Grid::new().await;
    compare(&grid).await;
    let closest: Vec<String> = grid.nearest().into_iter().take(3).map(|(_, id)| id).collect();
    grid.delete(&closest[0]).await;
    grid.put(&[(closest[1].clone(), Point::new(-170.0, -80.0)), ("e0000".to_owned(), Point::new(8.2513, 49.2488))]).await;
    assert_eq!(grid.nearest()[0].1, "e0000");
    compare(&grid).await;
}
