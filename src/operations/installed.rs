//! Whether an API server is one that Squall can work with: how old it is, and whether it has our kinds as this release
//! has them.

use kube::Client;
use kube::api::ListParams;
use serde_json::Value;

use super::Kind;
use crate::api::{CustomKind, custom_kinds};
use crate::report::{INSTALL, Trouble};

/// The oldest Kubernetes that is worked with: its CRDs have what ours use, and its API all that we ask for.
const OLDEST: (u32, u32) = (1, 32);

/// How many fields that are not there are named.
const NAMED: usize = 3;

/// The API server's version, and what is wrong with it.
///
/// # Errors
/// It does not say.
pub async fn version(client: &Client) -> Result<(String, Option<Trouble>), Trouble> {
    let info = client.apiserver_version().await;
    let info = info.map_err(|error| Trouble::api("ask for the API server's version", &error))?;
    let old = is_older(&info.major, &info.minor).then(|| {
        let (major, minor) = OLDEST;
        Trouble::new(format!(
            "this is Kubernetes {}.{}, and {major}.{minor} is the oldest that Squall works with",
            info.major, info.minor
        ))
        .cure("upgrade the cluster, or choose another with --context")
    });
    Ok((info.git_version, old))
}

/// Some servers write `33+`.
fn is_older(major: &str, minor: &str) -> bool {
    let number = |text: &str| text.trim_end_matches(|c: char| !c.is_ascii_digit()).parse::<u32>().ok();
    number(major).zip(number(minor)).is_some_and(|version| version < OLDEST)
}

/// What is missing of our kinds, or is another release's. What may not be read is not reported.
pub async fn kinds(client: &Client) -> Vec<Trouble> {
    let mut missing = Vec::new();
    let mut there: Vec<&CustomKind> = Vec::new();
    for kind in custom_kinds() {
        if is_served(client, kind).await { there.push(kind) } else { missing.push(kind.plural) }
    }
    let mut troubles = Vec::new();
    if !missing.is_empty() {
        let what = format!("the API server does not have {}", missing.join(", "));
        troubles.push(Trouble::new(what).cure(INSTALL));
    }
    for kind in there {
        let lacking = lacking(client, kind).await;
        if lacking.is_empty() {
            continue;
        }
        let more = lacking.len().saturating_sub(NAMED);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let named: Vec<_> = lacking.iter().take(NAMED).map(String::as_str).collect();
        let what = format!(
            "{} of this API server is of an older release, or Chaos Mesh's own: it lacks {}{more}",
            kind.plural,
            named.join(", ")
        );
        troubles.push(Trouble::new(what).cure(INSTALL));
    }
    troubles
}

async fn is_served(client: &Client, kind: &CustomKind) -> bool {
    let Some(kind) = Kind::known(kind.kind) else { return true };
    let answer = kind.api(client, None).list(&ListParams::default().limit(1)).await;
    !matches!(answer, Err(kube::Error::Api(status)) if status.code == 404)
}

/// The fields of a kind that the API server does not know, and would drop without a word.
async fn lacking(client: &Client, kind: &CustomKind) -> Vec<String> {
    let path = format!("/openapi/v3/apis/{}/{}", kind.group, kind.version);
    let Ok(request) = http::Request::get(path).body(Vec::new()) else { return Vec::new() };
    // A server without such documents has none to compare with.
    let Ok(document) = client.request::<Value>(request).await else { return Vec::new() };
    let schemas = document.pointer("/components/schemas").and_then(Value::as_object);
    let found = schemas.into_iter().flatten().map(|(_, schema)| schema).find(|schema| {
        let names = schema.get("x-kubernetes-group-version-kind").and_then(Value::as_array);
        names.into_iter().flatten().any(|name| name.get("kind").is_some_and(|name| name == kind.kind))
    });
    let Some(found) = found else { return Vec::new() };
    let wanted = serde_json::to_value(&kind.definition().spec.versions).unwrap_or_default();
    let Some(wanted) = wanted.pointer("/0/schema/openAPIV3Schema") else { return Vec::new() };
    let mut lost = Vec::new();
    for part in ["spec", "status"] {
        compare(wanted.pointer(&format!("/properties/{part}")), found, part, &mut lost);
    }
    lost
}

/// Collects the paths of what `wanted` has below the property `name` and `found` does not.
fn compare(wanted: Option<&Value>, found: &Value, path: &str, lost: &mut Vec<String>) {
    let Some(wanted) = wanted else { return };
    let name = path.rsplit('.').next().unwrap_or(path);
    match found.get("properties").and_then(|properties| properties.get(name)) {
        None => lost.push(path.to_owned()),
        Some(found) => inside(wanted, found, path, lost),
    }
}

fn inside(wanted: &Value, found: &Value, path: &str, lost: &mut Vec<String>) {
    for (name, property) in wanted.get("properties").and_then(Value::as_object).into_iter().flatten() {
        compare(Some(property), found, &format!("{path}.{name}"), lost);
    }
    for below in ["items", "additionalProperties"] {
        if let (Some(wanted), Some(found)) = (wanted.get(below), found.get(below)) {
            inside(wanted, found, path, lost);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn versions_are_compared_by_number() {
        for (major, minor, older) in [
            ("1", "31", true),
            ("1", "31+", true),
            ("1", "9", true),
            ("1", "32", false),
            ("1", "33+", false),
            ("2", "0", false),
            ("", "", false),
        ] {
            assert_eq!(is_older(major, minor), older, "{major}.{minor}");
        }
    }

    #[test]
    fn fields_that_are_missing_are_found_at_any_depth() {
        let of = |fields: Value| json!({ "properties": fields });
        let wanted = of(json!({
            "a": {}, "list": { "items": of(json!({ "b": {}, "c": {} })) },
            "map": { "additionalProperties": of(json!({ "d": {} })) },
        }));
        let found = of(json!({ "spec": of(json!({
            "list": { "items": of(json!({ "b": {} })) }, "map": { "additionalProperties": of(json!({})) },
            "more": {},
        })) }));
        let mut lost = Vec::new();
        compare(Some(&wanted), &found, "spec", &mut lost);
        assert_eq!(lost, ["spec.a", "spec.list.c", "spec.map.d"]);
    }
}
