//! The sample services' manifests are Kubernetes objects, and no field in them is misspelt: what the API types
//! do not know is lost when an object goes through them.

#![cfg(test)]

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Service};
use serde::Serialize;
use serde::de::{Deserialize, DeserializeOwned};
use serde_json::Value;

const FILES: [(&str, &str); 3] = [
    ("movies", include_str!("../sample-services/movies/k8s.yaml")),
    ("traffic", include_str!("../sample-services/traffic/k8s.yaml")),
    ("database", include_str!("../sample-services/database/k8s.yaml")),
];

fn through<T: DeserializeOwned + Serialize>(object: &Value) -> Value {
    let typed: T = serde_json::from_value(object.clone()).unwrap_or_else(|error| panic!("{error}: {object}"));
    serde_json::to_value(typed).unwrap()
}

#[test]
fn every_field_is_known_to_the_api() {
    for (service, text) in FILES {
        for document in serde_yaml::Deserializer::from_str(text) {
            let object = Value::deserialize(document).unwrap();
            let same = match object["kind"].as_str().unwrap() {
                "Deployment" => through::<Deployment>(&object),
                "Service" => through::<Service>(&object),
                "PersistentVolume" => through::<PersistentVolume>(&object),
                "PersistentVolumeClaim" => through::<PersistentVolumeClaim>(&object),
                kind => panic!("{service}: unexpected kind {kind}"),
            };
            assert_eq!(same, object, "{service}");
        }
    }
}
