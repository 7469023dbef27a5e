//! What Compose last said of the apps' projects, so that a start need not ask it again.

use std::collections::BTreeSet;

use jiff::Timestamp;
use rusqlite::{Row, params};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::connection::Store;
use super::error::StoreError;
use super::rows::{Reason, json, read_json};
use crate::domain::app::AppName;
use crate::domain::host::HostName;
use crate::domain::project::Project;

/// A project as it was last resolved. Its hooks are not kept, and never the values of its variables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RememberedProject<F> {
    pub app: AppName,
    /// The profiles that were switched on.
    pub profiles: BTreeSet<String>,
    /// The state of the files that it was read from.
    pub files: F,
    /// It, and a hash of all that Compose said; or why the app is broken, without secrets.
    pub outcome: Result<(Project, String), String>,
    pub resolved_at: Timestamp,
}

impl Store {
    /// Remembers projects of a host, all in one transaction, and forgets those of its apps that are not among `apps`.
    pub async fn remember_projects<F: Serialize + Send + 'static>(
        &self,
        host: &HostName,
        projects: Vec<RememberedProject<F>>,
        apps: BTreeSet<AppName>,
    ) -> Result<(), StoreError> {
        let host = host.clone();
        self.call(move |connection| {
            let transaction = connection.transaction()?;
            let gone = "DELETE FROM projects WHERE host = ?1 AND app NOT IN (SELECT value FROM json_each(?2))";
            transaction.execute(gone, [host.as_str(), &json(&apps)?])?;
            for remembered in &projects {
                let insert = "INSERT OR REPLACE INTO projects
                     (host, app, profiles, files, project, config, error, program, resolved_at)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
                let project = remembered.outcome.as_ref().ok();
                transaction.prepare_cached(insert)?.execute(params![
                    host.as_str(),
                    remembered.app.as_str(),
                    json(&remembered.profiles)?,
                    json(&remembered.files)?,
                    project.map(|(project, _)| json(project)).transpose()?,
                    project.map(|(_, config)| config),
                    remembered.outcome.as_ref().err(),
                    env!("CARGO_PKG_VERSION"),
                    remembered.resolved_at.to_string(),
                ])?;
            }
            Ok(transaction.commit()?)
        })
        .await
    }

    /// Every project of a host that this version of Restock has remembered. What cannot be read is left out: it is asked anew.
    pub async fn remembered_projects<F: DeserializeOwned + Send + 'static>(
        &self,
        host: &HostName,
    ) -> Result<Vec<RememberedProject<F>>, StoreError> {
        let host = host.clone();
        self.call(move |connection| {
            let query = "SELECT app, profiles, files, project, config, error, resolved_at FROM projects
                         WHERE host = ?1 AND program = ?2";
            let mut statement = connection.prepare_cached(query)?;
            let mut rows = statement.query([host.as_str(), env!("CARGO_PKG_VERSION")])?;
            let mut projects = Vec::new();
            while let Some(row) = rows.next()? {
                match project_of(row) {
                    Ok(project) => projects.push(project),
                    Err(error) => tracing::debug!(error, "a remembered project is not understood"),
                }
            }
            Ok(projects)
        })
        .await
    }
}

fn project_of<F: DeserializeOwned>(row: &Row<'_>) -> Result<RememberedProject<F>, Reason> {
    let project: Option<Project> = read_json(row, "project")?;
    Ok(RememberedProject {
        app: row.get::<_, String>("app")?.parse()?,
        profiles: serde_json::from_str(&row.get::<_, String>("profiles")?)?,
        files: serde_json::from_str(&row.get::<_, String>("files")?)?,
        outcome: match project {
            Some(project) => Ok((project, row.get("config")?)),
            None => Err(row.get("error")?),
        },
        resolved_at: row.get::<_, String>("resolved_at")?.parse()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapters::compose::Model;

    fn remembered(app: &str, outcome: Result<(Project, String), String>) -> RememberedProject<String> {
        RememberedProject {
            app: app.parse().unwrap(),
            profiles: ["debug".to_owned()].into(),
            files: "as they were".into(),
            outcome,
            resolved_at: "2026-03-01T10:00:00Z".parse().unwrap(),
        }
    }

    #[tokio::test]
    async fn projects_come_back_without_hooks_and_values_of_variables() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let reply = serde_json::json!({"name": "shop", "services": {
            "web": {"image": "web:1", "environment": {"TOKEN": "swordfish"}, "platform": "linux/arm64",
                    "depends_on": {"db": {"condition": "service_completed_successfully"}}},
            "db": {"image": "db:1", "profiles": ["debug"], "pull_policy": "never"}},
            "x-restock": {"schedule": "30 4 * * *", "min_age": "3d",
                          "hooks": {"before": [{"service": "web", "command": ["swordfish"]}]}}});
        let mut project = Model::parse(reply.to_string().as_bytes()).unwrap().project;
        assert_eq!(project.settings.as_ref().unwrap().hooks.before.len(), 1);
        let all =
            vec![remembered("shop", Ok((project.clone(), "hash".into()))), remembered("bad", Err("line 3".into()))];
        let names = BTreeSet::from(["shop".parse().unwrap(), "bad".parse().unwrap()]);
        let (local, nas) = (HostName::local(), "nas".parse().unwrap());
        store.remember_projects(&local, all.clone(), names.clone()).await.unwrap();
        project.settings.as_mut().unwrap().hooks = Default::default();
        store.remember_projects(&nas, all, names.clone()).await.unwrap();
        let known = store.remembered_projects::<String>(&local).await.unwrap();
        assert_eq!(known, [remembered("bad", Err("line 3".into())), remembered("shop", Ok((project, "hash".into())))]);
        for file in std::fs::read_dir(dir.path()).unwrap() {
            let bytes = std::fs::read(file.unwrap().path()).unwrap();
            assert!(!bytes.windows(9).any(|window| window == b"swordfish"));
        }
        store
            .remember_projects(&local, Vec::<RememberedProject<String>>::new(), [names.first().unwrap().clone()].into())
            .await
            .unwrap();
        let left = async |host| store.remembered_projects::<String>(host).await.unwrap().len();
        assert_eq!((left(&local).await, left(&nas).await), (1, 2));
        // A row of another shape is no reason not to start.
        assert_eq!(store.remembered_projects::<Vec<u8>>(&local).await.unwrap().len(), 0);
    }
}
