//! What an app's project contains, and which containers are its own.

use std::collections::BTreeSet;
use std::path::Path;

use super::context::Host;
use super::known_projects::{Call, Resolved, Trust};
use crate::adapters::apps_dir::AppDir;
use crate::adapters::compose::{Compose, Model, ProjectCall, Redactor};
use crate::domain::app::ServiceName;
use crate::domain::container::{Container, ContainerState};
use crate::domain::image::canonical_or_as_written;
use crate::domain::project::{AppSettings, Project};
use crate::error::{Code, Error, config_error};

/// A project as it was read, and how it can be read again.
pub struct Reading {
    pub call: ProjectCall,
    pub resolved: Resolved,
    /// What was asked for on the way.
    pub(super) asked: Vec<Call>,
}

impl Host {
    /// The app's project for reading, however long it is known, while the app's files are unchanged: for what is looked
    /// at all the time, and may miss a change in a file that nobody sees.
    pub async fn resolve_unchanged(&self, app: &AppDir) -> Result<Resolved, Error> {
        self.project(app, &(app.name.clone(), BTreeSet::new()), Trust::SameFiles).await
    }

    /// The app's project for reading, with the profiles that its running containers belong to, as an update sees it.
    pub async fn resolve_call(&self, app: &AppDir, all: &[Container], trust: Trust) -> Result<Reading, Error> {
        let call = ProjectCall::new(&app.path);
        let profiles = |profiles: BTreeSet<String>| (app.name.clone(), profiles);
        let mut asked = vec![profiles(BTreeSet::new())];
        let resolved = self.project(app, &asked[0], trust).await?;
        let Ok(model) = resolved.as_ref() else { return Ok(Reading { call, resolved, asked }) };
        let hidden = hidden_services(&model.project, &containers_of(&model.project, all));
        if hidden.is_empty() {
            return Ok(Reading { call, resolved, asked });
        }
        asked.push(profiles(["*".to_owned()].into()));
        let everything = self.project(app, &asked[1], trust).await?;
        let Ok(every) = everything.as_ref() else { return Ok(Reading { call, resolved: everything, asked }) };
        let needed = profiles_to_name(&every.project, &model.project, &hidden);
        asked.push(profiles(needed.clone()));
        let resolved = self.project(app, &asked[2], trust).await?;
        Ok(Reading { call: call.with_profiles(needed), resolved, asked })
    }
}

/// Asks Compose what the project contains.
pub async fn config(compose: &Compose, app: &AppDir, call: &ProjectCall) -> Result<Model, Error> {
    if !app.has_compose_file().await? {
        // Compose would look for a project in the directories above.
        let name = app.compose_file.file_name().unwrap_or_default().display();
        return Err(Error::new(Code::InvalidComposeFile, format!("{name} leads to no file")).app(&app.name));
    }
    match compose.config(call).await {
        Ok(model) => Ok(model),
        Err(error) => {
            let redactor = Redactor::new(app.secret_values().await?, &[app.name.as_str()]);
            Err(config_error(&error, &redactor).app(&app.name))
        }
    }
}

/// What takes an app's secrets out of texts, once the project is known.
///
/// # Errors
/// The app's directory hangs: then nobody can tell what is secret.
pub async fn redactor(app: &AppDir, model: &Model) -> Result<Redactor, Error> {
    let project = &model.project;
    let images = project.services.values().map(|service| service.image.as_str());
    let names = project.services.keys().map(|name| name.as_str());
    let public: Vec<_> = images.chain(names).chain([app.name.as_str(), project.name.as_str()]).collect();
    let secrets = app.secret_values().await?.into_iter().chain(model.secrets.iter().cloned());
    Ok(Redactor::new(secrets, &public))
}

/// The containers of a project, out of all.
pub fn containers_of(project: &Project, all: &[Container]) -> Vec<Container> {
    let own = |container: &&Container| {
        container.compose.as_ref().is_some_and(|labels| labels.project == project.name && !labels.one_off)
    };
    all.iter().filter(own).cloned().collect()
}

/// Services that run although the project as it stands does not show them: their profiles are switched off.
fn hidden_services(project: &Project, containers: &[Container]) -> BTreeSet<ServiceName> {
    let up = containers.iter().filter(|container| container.state.is_up());
    let services = up.filter_map(|container| container.compose.as_ref()).map(|labels| &labels.service);
    services.filter(|service| !project.services.contains_key(service)).cloned().collect()
}

/// The profiles that show `hidden` besides what is visible already. The latter have to be named again: profiles of the
/// command line take the place of `COMPOSE_PROFILES` in `.env`.
fn profiles_to_name(everything: &Project, visible: &Project, hidden: &BTreeSet<ServiceName>) -> BTreeSet<String> {
    let shown = everything.profiles_of(hidden);
    if shown.is_empty() { shown } else { shown.union(&everything.profiles_on(visible)).cloned().collect() }
}

/// The project with the profiles of services that run although it does not show them as it stands.
pub async fn with_what_runs(
    compose: &Compose,
    app: &AppDir,
    call: ProjectCall,
    model: Model,
    containers: &[Container],
) -> Result<(ProjectCall, Model), Error> {
    let hidden = hidden_services(&model.project, containers);
    if hidden.is_empty() {
        return Ok((call, model));
    }
    let everything = config(compose, app, &call.with_profiles(["*".to_owned()])).await?;
    let profiles = profiles_to_name(&everything.project, &model.project, &hidden);
    if profiles.is_empty() {
        return Ok((call, model));
    }
    let call = call.with_profiles(profiles);
    let model = config(compose, app, &call).await?;
    Ok((call, model))
}

/// The containers that were made in an app's directory, whatever the project is called.
pub async fn of_directory(app: &AppDir, containers: &[Container]) -> Vec<Container> {
    let mut own = BTreeSet::new();
    for dir in containers.iter().filter_map(directory).collect::<BTreeSet<_>>() {
        if app.is_at(Path::new(dir)).await {
            own.insert(dir);
        }
    }
    let is_own = |container: &&Container| directory(container).is_some_and(|dir| own.contains(dir));
    containers.iter().filter(is_own).cloned().collect()
}

/// The directory that a container was made in.
fn directory(container: &Container) -> Option<&str> {
    container.compose.as_ref()?.working_dir.as_deref()
}

/// Refuses to work on containers that another directory with the same project name made.
pub async fn check_directory(app: &AppDir, containers: &[Container]) -> Result<(), Error> {
    for dir in containers.iter().filter_map(directory).collect::<BTreeSet<_>>() {
        if !app.is_at(Path::new(dir)).await {
            return Err(Error::new(
                Code::ForeignProject,
                format!("the containers of this project were made from another directory: {dir}"),
            )
            .hint("give one of the two projects a `name:` of its own, or run Restock where it sees the directory at the same path")
            .app(&app.name));
        }
    }
    Ok(())
}

/// Refuses to change containers when one is paused (Compose fails half-way on it) or is the one Restock runs in.
pub fn check_containers(host: &Host, app: &AppDir, containers: &[Container]) -> Result<(), Error> {
    if let Some(own) = containers.iter().find(|container| host.is_self(container)) {
        return Err(Error::new(
            Code::ContainsRestock,
            format!("the app contains Restock itself ({}), which would end in the middle of its own update", own.name),
        )
        .hint("update it from outside: docker compose pull && docker compose up -d")
        .app(&app.name));
    }
    if let Some(paused) = containers.iter().find(|container| container.state == ContainerState::Paused) {
        return Err(Error::new(Code::Paused, format!("container {} is paused", paused.name))
            .hint(format!("unpause it first: docker unpause {}", paused.name))
            .app(&app.name));
    }
    Ok(())
}

/// The app's own settings, or the mistakes in them: they are told before anything is touched.
pub(super) fn settings(model: &Model, app: &AppDir) -> Result<AppSettings, Error> {
    model.project.settings.clone().map_err(|mistakes| {
        Error::new(Code::InvalidSettings, mistakes).hint("correct `x-restock` in the Compose file").app(&app.name)
    })
}

/// The complete forms of the references of a project: what its lock on images is named by.
pub fn canonical_references(project: &Project) -> BTreeSet<String> {
    let images = project.services.values().map(|service| &service.image);
    images.map(|image| canonical_or_as_written(image)).collect()
}
