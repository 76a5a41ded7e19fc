//! One object of an installation, of whatever kind.

use kube::Resource;
use kube::api::{ApiResource, DynamicObject};
use serde::Serialize;
use serde_json::Value;

/// One object of an installation: what it is called, and what it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// Its kind, as the API names it.
    pub resource: ApiResource,
    /// Its namespace, if it has one.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
    /// The object itself, with `apiVersion` and `kind`.
    pub value: Value,
}

impl Part {
    /// Makes one of a typed object.
    pub fn of<K: Resource<DynamicType = ()> + Serialize>(object: &K) -> Self {
        let meta = object.meta();
        Self {
            resource: ApiResource::erase::<K>(&()),
            namespace: meta.namespace.clone(),
            name: meta.name.clone().unwrap_or_default(),
            // The types of the API have no value that JSON has not.
            value: serde_json::to_value(object).unwrap_or_default(),
        }
    }

    /// `deployment.apps/squall-controller`, as kubectl names an object.
    pub fn label(&self) -> String {
        let kind = self.resource.kind.to_ascii_lowercase();
        if self.resource.group.is_empty() {
            return format!("{kind}/{}", self.name);
        }
        format!("{kind}.{}/{}", self.resource.group, self.name)
    }

    /// As clients for any kind take it.
    ///
    /// # Errors
    /// It is no object, which [`Self::of`] does not make.
    pub fn dynamic(&self) -> Result<DynamicObject, serde_json::Error> {
        serde_json::from_value(self.value.clone())
    }
}
