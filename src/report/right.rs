//! Rights on the API server: which one an action takes, who lacks it, and how it is granted.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A verb on a resource, in one namespace or everywhere.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Right {
    /// `get`, `create`, `patch`, …
    pub verb: String,
    /// The API group; empty for the core.
    pub group: String,
    /// The plural, with a subresource behind a slash.
    pub resource: String,
    /// The namespace; all of them, or none for what has none, without one.
    pub namespace: Option<String>,
}

impl Right {
    /// The right to do `verb` to the `resource` of a `group`.
    pub fn new(verb: &str, group: &str, resource: &str, namespace: Option<&str>) -> Self {
        Self {
            verb: verb.to_owned(),
            group: group.to_owned(),
            resource: resource.to_owned(),
            namespace: namespace.map(str::to_owned),
        }
    }

    /// The same everywhere.
    #[must_use]
    pub fn everywhere(&self) -> Self {
        Self { namespace: None, ..self.clone() }
    }

    /// Resource and group as kubectl writes them: `networkchaos.chaos-mesh.org`, `pods/log`.
    fn words(&self) -> String {
        if self.group.is_empty() {
            return self.resource.clone();
        }
        match self.resource.split_once('/') {
            Some((resource, part)) => format!("{resource}.{}/{part}", self.group),
            None => format!("{}.{}", self.resource, self.group),
        }
    }

    /// The commands that give it to `user`, for somebody who may do that.
    pub fn grant(&self, user: &str) -> String {
        let resource = self.resource.replace('/', "-");
        let role = format!("squall-{}-{resource}", self.verb);
        let last = user.rsplit([':', '/']).next().unwrap_or_default();
        let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
        let last: String = last.chars().map(plain).collect();
        let binding = format!("{role}-{}", last.trim_matches('-'));
        let account = user.strip_prefix("system:serviceaccount:");
        let subject = match account.and_then(|account| account.split_once(':')) {
            Some((namespace, name)) => format!("--serviceaccount={namespace}:{name}"),
            None => format!("--user='{user}'"),
        };
        let (kind, place) = match &self.namespace {
            Some(namespace) => ("role", format!(" -n {namespace}")),
            None => ("clusterrole", String::new()),
        };
        format!(
            "kubectl create {kind} {role} --verb={} --resource={}{place} && \
             kubectl create {kind}binding {binding} --{kind}={role} {subject}{place}",
            self.verb,
            self.words()
        )
    }

    /// Who lacks which right, by the words in which a kube-apiserver refuses (`ForbiddenErrorMessage` of
    /// k8s.io/apiserver): nowhere else does its answer tell the verb and the namespace.
    pub fn of_refusal(message: &str) -> Option<(String, Self)> {
        let mut words = Quoted(message.split_once("User \"")?.1);
        let user = words.until("\" cannot ")?;
        let verb = words.until(" resource \"")?;
        let resource = words.until("\" in API group \"")?;
        let group = words.until("\"")?;
        let namespace = words.0.strip_prefix(" in the namespace \"").and_then(|rest| rest.split('"').next());
        (namespace.is_some() || words.0.starts_with(" at the cluster scope"))
            .then(|| (user.to_owned(), Self::new(verb, group, resource, namespace)))
    }
}

/// The rest of a text that is taken apart.
struct Quoted<'a>(&'a str);

impl<'a> Quoted<'a> {
    fn until(&mut self, end: &str) -> Option<&'a str> {
        let (before, rest) = self.0.split_once(end)?;
        self.0 = rest;
        Some(before)
    }
}

/// `patch networkchaos.chaos-mesh.org in namespace default`.
impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.verb, self.words())?;
        self.namespace.as_ref().map_or(Ok(()), |namespace| write!(f, " in namespace {namespace}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_tells_who_lacks_what() {
        for (message, user, right) in [
            (
                r#"networkchaos.chaos-mesh.org "p" is forbidden: User "system:serviceaccount:default:viewer" cannot patch resource "networkchaos" in API group "chaos-mesh.org" in the namespace "default""#,
                "system:serviceaccount:default:viewer",
                "patch networkchaos.chaos-mesh.org in namespace default",
            ),
            (
                r#"nodes is forbidden: User "ann" cannot list resource "nodes" in API group "" at the cluster scope"#,
                "ann",
                "list nodes",
            ),
            (
                r#"pods "m" is forbidden: User "ann" cannot get resource "pods/log" in API group "" in the namespace "a": no"#,
                "ann",
                "get pods/log in namespace a",
            ),
        ] {
            let (who, found) = Right::of_refusal(message).unwrap();
            assert_eq!((who.as_str(), found.to_string().as_str()), (user, right));
        }
        for message in [
            "",
            "User \"ann\" cannot get path \"/x\"",
            "pods is forbidden",
            "User \"a\" cannot list resource \"x\"",
        ] {
            assert_eq!(Right::of_refusal(message), None, "{message}");
        }
    }

    #[test]
    fn a_right_is_granted_where_it_is_missing() {
        let patch = Right::new("patch", "chaos-mesh.org", "networkchaos", Some("default"));
        assert_eq!(
            patch.grant("system:serviceaccount:ops:bot"),
            "kubectl create role squall-patch-networkchaos --verb=patch --resource=networkchaos.chaos-mesh.org -n default \
             && kubectl create rolebinding squall-patch-networkchaos-bot --role=squall-patch-networkchaos \
             --serviceaccount=ops:bot -n default"
        );
        let halt = Right::new("create", "squall.dev", "halts", None);
        assert_eq!(
            halt.grant("Ann@example.com"),
            "kubectl create clusterrole squall-create-halts --verb=create --resource=halts.squall.dev \
             && kubectl create clusterrolebinding squall-create-halts-ann-example-com --clusterrole=squall-create-halts \
             --user='Ann@example.com'"
        );
        assert!(
            Right::new("get", "", "pods/log", Some("a")).grant("ann").contains("--resource=pods/log -n a")
        );
    }
}
