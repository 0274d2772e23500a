//! Recorded answers: the pages of a read, as bytes.

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use crate::account::Account;

/// The pages of all contacts, with everything that the API has of them.
pub(crate) fn contacts(account: &Account) -> Vec<Vec<u8>> {
    let session = login(account);
    let includes = [
        "SMSKeywords",
        "GeoIPData",
        "TechnologyData",
        "RFMData",
        "EngagementData",
        "Segments",
        "Lists",
    ];
    let includes: String =
        includes.map(|name| format!("<include{name}>true</include{name}>")).concat();
    let page = |number: usize| {
        let parameters = format!("<filter/>{includes}<pageNumber>{number}</pageNumber>");
        call(account, &session, "readContacts", &parameters)
    };
    (1..).map(page).take_while(|body| has_rows(body)).collect()
}

/// The pages of all inbound activities.
pub(crate) fn activities(account: &Account) -> Vec<Vec<u8>> {
    let session = login(account);
    let page = |direction: &str| {
        let parameters =
            format!("<filter><size>5000</size><readDirection>{direction}</readDirection></filter>");
        call(account, &session, "readRecentInboundActivities", &parameters)
    };
    let directions = std::iter::once("FIRST").chain(std::iter::repeat("NEXT"));
    directions.map(page).take_while(|body| has_rows(body)).collect()
}

fn has_rows(body: &[u8]) -> bool {
    body.windows(8).any(|window| window == b"<return>")
}

fn login(account: &Account) -> String {
    let token = format!("<apiToken>{}</apiToken>", bronto_sim::DEFAULT_TOKEN);
    let body = String::from_utf8(call(account, "", "login", &token)).unwrap();
    let (_, rest) = body.split_once("<return>").unwrap();
    rest.split_once("</return>").unwrap().0.to_owned()
}

/// One call by HTTP/1.0, whose answer ends where the connection does.
fn call(account: &Account, session: &str, function: &str, parameters: &str) -> Vec<u8> {
    let envelope = format!(
        "<e:Envelope xmlns:e=\"http://schemas.xmlsoap.org/soap/envelope/\" xmlns:b=\"http://api.bronto.com/v4\">\
         <e:Header><b:sessionHeader><sessionId>{session}</sessionId></b:sessionHeader></e:Header>\
         <e:Body><b:{function}>{parameters}</b:{function}></e:Body></e:Envelope>"
    );
    let mut connection = TcpStream::connect(account.server.address()).unwrap();
    write!(
        connection,
        "POST /v4 HTTP/1.0\r\nSOAPAction: \"\"\r\nContent-Type: text/xml; charset=utf-8\r\nContent-Length: {}\r\n\r\n{envelope}",
        envelope.len()
    )
    .unwrap();
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer).unwrap();
    let head = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
    answer.split_off(head)
}
