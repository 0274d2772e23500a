//! Tables that can't be selected by time, read whole: lists, and the definitions of custom fields.
//!
//! Their objects may be added or removed between pages, so that others move from page to page. Page 2 is asked for first.
//! If it is empty, page 1 is all there is: an object that is removed in between can only bring the others closer to it.
//! The other way round, one could move to page 1 after that was read, and be missed. Where there are several pages,
//! passes are repeated until two agree. Accounts have few of these objects; a pass fits in memory.

use replication::source::{SourceError, SourceErrorKind};

/// After so many passes that disagree the read fails.
const MOST_PASSES: u32 = 6;
/// A server that has no last page would be asked for ever.
const MOST_PAGES: u32 = 10_000;

/// A table that is read page by page.
pub(crate) trait PagedTable {
    type Page: Send;
    /// What passes must agree on.
    type Content: PartialEq + Send;
    type Error: From<SourceError> + Send;

    /// Its objects, in the plural.
    const OBJECTS: &'static str;

    /// Reads a page; none if it is empty.
    fn page(
        &mut self,
        number: u32,
    ) -> impl Future<Output = Result<Option<Self::Page>, Self::Error>> + Send;

    /// Whether two pages hold the same, which no two pages of one pass do.
    fn is_same(page: &Self::Page, other: &Self::Page) -> bool;

    fn content(pages: &[Self::Page]) -> Self::Content;

    /// A pass begins.
    fn begin_pass(&mut self, _pass: u32) {}

    /// Pages were read that are not used: they will be read again.
    fn set_aside(&mut self, _pages: &[Self::Page]) {}
}

/// The pages of a pass that is known to be whole.
///
/// # Errors
/// Those of a page; [`SourceErrorKind::Unsound`] when no pass can be known to be whole.
pub(crate) async fn read_whole<T: PagedTable + Send>(
    table: &mut T,
) -> Result<Vec<T::Page>, T::Error> {
    let Some(second) = table.page(2).await? else {
        return Ok(table.page(1).await?.into_iter().collect());
    };
    table.set_aside(&[second]);
    let mut before = None;
    for pass in 1..=MOST_PASSES {
        table.begin_pass(pass);
        let pages = read_pass(table).await?;
        let content = Some(T::content(&pages));
        if before == content {
            return Ok(pages);
        }
        before = content;
        table.set_aside(&pages);
    }
    let objects = T::OBJECTS;
    let problem = format!(
        "The {objects} changed in each of {MOST_PASSES} passes, so no pass is known to be whole"
    );
    let remedy = format!("Run again when {objects} are not being added or removed");
    Err(SourceError::new(SourceErrorKind::Unsound, problem, remedy).into())
}

/// The pages up to the first empty one.
async fn read_pass<T: PagedTable + Send>(table: &mut T) -> Result<Vec<T::Page>, T::Error> {
    let objects = T::OBJECTS;
    let unsound = |problem: String| {
        let remedy = "The server does not page as documented; report this with the run's log";
        SourceError::new(SourceErrorKind::Unsound, problem, remedy)
    };
    let mut pages: Vec<T::Page> = Vec::new();
    for number in 1..=MOST_PAGES {
        let Some(page) = table.page(number).await? else { return Ok(pages) };
        if pages.last().is_some_and(|last| T::is_same(last, &page)) {
            let problem =
                format!("Pages {} and {number} of the {objects} are the same", number - 1);
            return Err(unsound(problem).into());
        }
        pages.push(page);
    }
    Err(unsound(format!("The {objects} have more than {MOST_PAGES} pages")).into())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed set-up should stop the test")]
mod tests {
    use super::*;

    /// Gives out these answers to whatever is asked, and writes down what that was.
    #[derive(Default)]
    struct Scripted {
        answers: Vec<&'static [u32]>,
        asked: Vec<u32>,
        aside: usize,
    }

    impl PagedTable for Scripted {
        type Page = &'static [u32];
        type Content = Vec<u32>;
        type Error = SourceError;

        const OBJECTS: &'static str = "things";

        async fn page(&mut self, number: u32) -> Result<Option<Self::Page>, SourceError> {
            self.asked.push(number);
            let answer = self.answers[self.asked.len() - 1];
            Ok((!answer.is_empty()).then_some(answer))
        }

        fn is_same(page: &Self::Page, other: &Self::Page) -> bool {
            page == other
        }

        fn content(pages: &[Self::Page]) -> Vec<u32> {
            pages.concat()
        }

        fn set_aside(&mut self, pages: &[Self::Page]) {
            self.aside += pages.len();
        }
    }

    async fn read(answers: &[&'static [u32]]) -> (Result<Vec<u32>, String>, Scripted) {
        let mut table = Scripted { answers: answers.to_vec(), ..Scripted::default() };
        let read = read_whole(&mut table).await;
        (read.map(|pages| pages.concat()).map_err(|error| error.to_string()), table)
    }

    #[tokio::test]
    async fn one_page_takes_two_requests_and_several_take_passes_that_agree() {
        let (read_once, table) = read(&[&[], &[1, 2]]).await;
        assert_eq!((read_once, table.asked), (Ok(vec![1, 2]), vec![2, 1]));
        assert_eq!(read(&[&[], &[]]).await.0, Ok(Vec::new()));
        let (agreed, table) =
            read(&[&[3], &[1, 2], &[3], &[], &[1], &[3], &[], &[1], &[3], &[]]).await;
        assert_eq!((agreed, table.aside), (Ok(vec![1, 3]), 5));
        assert_eq!(table.asked, [2, 1, 2, 3, 1, 2, 3, 1, 2, 3]);
    }

    #[tokio::test]
    async fn tables_that_never_agree_or_repeat_a_page_fail() {
        let passes: [&'static [u32]; 12] =
            [&[1], &[], &[2], &[], &[3], &[], &[4], &[], &[5], &[], &[6], &[]];
        let changing = [&[[9_u32].as_slice()][..], &passes].concat();
        let error = read(&changing).await.0.unwrap_err();
        assert!(error.starts_with("The things changed in each of 6 passes"), "{error}");
        let error = read(&[&[2], &[2], &[2], &[]]).await.0.unwrap_err();
        assert!(error.starts_with("Pages 1 and 2 of the things are the same"), "{error}");
    }
}
