//! Object ids: 36 lower-case hexadecimal characters beginning `0b`, as Bronto's own clients test with.

/// The kinds of objects that have an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IdKind {
    Contact,
    List,
    Segment,
    Field,
    Keyword,
    Message,
    Delivery,
    Webform,
    Workflow,
}

impl IdKind {
    /// What the ids of this kind begin with: the kind, then the site.
    fn prefix(self) -> &'static [u8; 8] {
        match self {
            Self::Contact => b"0bbd03e8",
            Self::List => b"0bbf03e8",
            Self::Segment => b"0bc103e8",
            Self::Field => b"0bbc03e8",
            Self::Keyword => b"0bda03e8",
            Self::Message => b"0bb603e8",
            Self::Delivery => b"0bb903e8",
            Self::Webform => b"0bca03e8",
            Self::Workflow => b"0bdc03e8",
        }
    }
}

/// An object's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ObjectId([u8; 36]);

impl ObjectId {
    pub(crate) fn new(kind: IdKind, number: u32) -> Self {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = [b'0'; 36];
        text[..8].copy_from_slice(kind.prefix());
        let mut rest = number as usize + 1;
        for place in text[8..].iter_mut().rev() {
            *place = DIGITS[rest % 16];
            rest /= 16;
        }
        Self(text)
    }

    pub(crate) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("hexadecimal digits")
    }

    /// The number of the object of this kind that has this id.
    pub(crate) fn number(kind: IdKind, text: &str) -> Option<u32> {
        let digits = text.strip_prefix(std::str::from_utf8(kind.prefix()).ok()?)?;
        let number = u32::try_from(u128::from_str_radix(digits, 16).ok()?).ok()?.checked_sub(1)?;
        (Self::new(kind, number).as_str() == text).then_some(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_tells_its_number() {
        for number in [0, 1, 4711, u32::MAX - 1] {
            let id = ObjectId::new(IdKind::Contact, number);
            assert_eq!(id.as_str().len(), 36);
            assert_eq!(ObjectId::number(IdKind::Contact, id.as_str()), Some(number));
            assert_eq!(ObjectId::number(IdKind::List, id.as_str()), None);
        }
        assert_eq!(ObjectId::number(IdKind::Contact, "0bbd03e8"), None);
    }
}
