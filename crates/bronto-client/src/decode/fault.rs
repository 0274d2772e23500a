//! The content of a `Fault` element.

use quick_xml::events::Event;

use super::pull::{Leaf, Pull, is_nil};
use super::{AnswerDefect, MAX_DEPTH};
use crate::fault::Fault;

/// Reads the rest of a fault whose start tag was read.
pub(super) fn read(pull: &mut Pull<'_>) -> Result<Fault, AnswerDefect> {
    let mut text = String::new();
    let mut code = None;
    loop {
        match pull.next()? {
            Event::Start(tag) => match tag.local_name().into_inner() {
                "faultstring" => {
                    if let Some(found) = leaf(pull)? {
                        text = found;
                    }
                }
                "detail" => code = code.or(code_in_detail(pull)?),
                _ => pull.skip()?,
            },
            Event::End(_) => return Ok(Fault::received(code, &text)),
            // Nothing else in a fault matters, and a fault is better reported than refused.
            _ => {}
        }
    }
}

/// Reads the rest of a `detail` element and takes the code at `ApiException/errorCode`.
fn code_in_detail(pull: &mut Pull<'_>) -> Result<Option<u32>, AnswerDefect> {
    let mut code = None;
    let mut depth = 0_usize;
    let mut in_exception = false;
    loop {
        match pull.next()? {
            Event::Start(tag) => {
                let name = tag.local_name().into_inner();
                if depth == 1 && in_exception && name == "errorCode" {
                    let nil = is_nil(&tag).map_err(|()| pull.bad_attribute())?;
                    let text = leaf(pull)?;
                    code = text.filter(|_| !nil).and_then(|text| text.trim().parse().ok()).or(code);
                } else if depth == MAX_DEPTH {
                    return Err(AnswerDefect::TooDeep);
                } else {
                    in_exception |= depth == 0 && name == "ApiException";
                    depth += 1;
                }
            }
            Event::End(_) if depth == 0 => return Ok(code),
            Event::End(_) => {
                depth -= 1;
                in_exception &= depth > 0;
            }
            _ => {}
        }
    }
}

/// The text of an element, if it has one.
fn leaf(pull: &mut Pull<'_>) -> Result<Option<String>, AnswerDefect> {
    Ok(match pull.leaf()? {
        Leaf::Text(text) => Some(text.to_owned()),
        Leaf::Gathered => Some(pull.gathered().to_owned()),
        Leaf::Defect(_) => None,
    })
}
