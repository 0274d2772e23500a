//! `backstitch users` and `tokens`: who may use a service, over its API.

use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value, json};
use service::api::shapes::{NewTokenView, Page, TokenView, UserView};

use super::{integrations::confirmed, runs::is_id, user::password};
use crate::{
    command_line::{TokensArguments, TokensCommand, UsersArguments, UsersCommand},
    display::{self, Column},
    exit::ExitStatus,
    failure::Failure,
    remote::{self, Answer, Client},
};

/// The longest name in a table.
const LONGEST: usize = 60;

/// `users`.
///
/// # Errors
/// When the service can't be asked or refuses, or there is no password.
pub(crate) fn users(arguments: &UsersArguments) -> Result<ExitStatus, Failure> {
    use UsersCommand as Do;
    // Standard input is read before anything is asked.
    let password = match &arguments.command {
        Some(Do::Create { .. } | Do::Edit { password: true, .. }) => Some(password()?),
        _ => None,
    };
    let password = password.as_ref();
    remote::ask(&arguments.server, async |client| {
        let answer = match &arguments.command {
            None | Some(Do::List) => return list_users(client, arguments.json).await,
            Some(Do::Create { name, role }) => {
                let body = body([("name", Some(name)), ("role", Some(role))], password);
                client.post::<UserView>(&["users"], body).await?
            }
            Some(Do::Edit { name, role, .. }) => {
                if role.is_none() && password.is_none() {
                    return Err(Failure::configuration("Nothing is to be changed")
                        .with_hint("Give `--role ROLE`, or `--password`"));
                }
                let id = user(client, name).await?.id;
                let body = body([("role", role.as_ref())], password);
                client.patch::<UserView>(&["users", &id], None, body).await?
            }
            Some(Do::Disable { name, yes }) => {
                let found = user(client, name).await?;
                let name = display::one_line(&found.name, LONGEST);
                if !yes {
                    display::print(&format!(
                        "{name} is to be disabled, with all tokens and sessions, for ever\n"
                    ))?;
                }
                confirmed(*yes).await?;
                client.delete(&["users", &found.id]).await?;
                display::print(&format!("Disabled {name}\n"))?;
                return Ok(ExitStatus::Done);
            }
        };
        if arguments.json {
            display::print_json(&answer.json)?;
        } else {
            let UserView { id, name, role, .. } = &answer.view;
            display::print(&format!("{}, {role}: {id}\n", display::one_line(name, LONGEST)))?;
        }
        Ok(ExitStatus::Done)
    })
}

/// A body with what is given, and perhaps a password.
fn body<const N: usize>(
    fields: [(&str, Option<&String>); N],
    password: Option<&SecretString>,
) -> SecretString {
    let fields = fields.into_iter().filter_map(|(name, value)| Some((name, value?.as_str())));
    let password = password.map(|password| ("password", password.expose_secret()));
    let body: Map<String, Value> =
        fields.chain(password).map(|(name, value)| (name.to_owned(), value.into())).collect();
    Value::Object(body).to_string().into()
}

async fn list_users(client: &Client, is_json: bool) -> Result<ExitStatus, Failure> {
    let found: Answer<Page<UserView>> = client.get(&["users"], &[]).await?;
    if is_json {
        display::print_json(&found.json)?;
        return Ok(ExitStatus::Done);
    }
    let columns = [
        Column::Text("User"),
        Column::Text("Role"),
        Column::Text("Made"),
        Column::Text("Disabled"),
        Column::Whole("Id"),
    ];
    let row = |user: &UserView| {
        vec![
            display::one_line(&user.name, LONGEST),
            user.role.to_string(),
            display::instant(Some(user.created_at)),
            display::instant(user.disabled_at),
            user.id.clone(),
        ]
    };
    display::print(&display::table(
        &columns,
        &found.view.items.iter().map(row).collect::<Vec<_>>(),
    ))?;
    Ok(ExitStatus::Done)
}

/// A user by name or id.
async fn user(client: &Client, name: &str) -> Result<UserView, Failure> {
    let users: Page<UserView> = client.get(&["users"], &[]).await?.view;
    let found = users.items.into_iter().find(|user| user.name == name || user.id == name);
    found.ok_or_else(|| {
        Failure::configuration(format!("There is no user `{}`", display::one_line(name, LONGEST)))
            .with_hint("`backstitch users` lists them")
    })
}

/// `tokens`.
///
/// # Errors
/// When the service can't be asked or refuses.
pub(crate) fn tokens(arguments: &TokensArguments) -> Result<ExitStatus, Failure> {
    use TokensCommand as Do;
    remote::ask(&arguments.server, async |client| {
        if let Some(Do::Revoke { id }) = &arguments.command {
            if !is_id(id) {
                return Err(Failure::configuration("This is no id of a token")
                    .with_hint("`backstitch tokens` lists tokens with their ids"));
            }
            client.delete(&["tokens", id]).await?;
            display::print(&format!("Revoked {id}\n"))?;
            return Ok(ExitStatus::Done);
        }
        let user_id = match &arguments.user {
            Some(name) => Some(user(client, name).await?.id),
            None => None,
        };
        let path = match &user_id {
            Some(user_id) => vec!["users", user_id, "tokens"],
            None => vec!["tokens"],
        };
        if let Some(Do::Create { name, scope, expires }) = &arguments.command {
            let body = json!({ "name": name, "scope": scope, "expires_at": expires });
            let made: Answer<NewTokenView> = client.post(&path, body.to_string().into()).await?;
            if arguments.json {
                display::print_json(&made.json)?;
            } else {
                // Alone, for a script to take.
                display::print(&format!("{}\n", made.view.token))?;
            }
            return Ok(ExitStatus::Done);
        }
        let found: Answer<Page<TokenView>> = client.get(&path, &[]).await?;
        if arguments.json {
            display::print_json(&found.json)?;
        } else if found.view.items.is_empty() {
            display::print("There is no token\n")?;
        } else {
            display::print(&tokens_table(&found.view.items))?;
        }
        Ok(ExitStatus::Done)
    })
}

fn tokens_table(tokens: &[TokenView]) -> String {
    let columns = [
        Column::Text("Token"),
        Column::Text("Scope"),
        Column::Text("Ends"),
        Column::Text("Last used"),
        Column::Whole("Id"),
    ];
    let row = |token: &TokenView| {
        vec![
            display::one_line(&token.name, LONGEST),
            token.scope.to_string(),
            display::instant(token.expires_at),
            display::instant(token.last_used_at),
            token.id.clone(),
        ]
    };
    display::table(&columns, &tokens.iter().map(row).collect::<Vec<_>>())
}
