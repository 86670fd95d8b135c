//! What can be chosen from on the command line.

/// One of a few.
pub trait Choice: Copy + Sized + PartialEq + 'static {
    const ALL: &'static [Self];

    /// What it is called on a command line.
    fn argument(self) -> &'static str;

    /// What it is called in a table.
    fn name(self) -> &'static str;

    fn from_argument(argument: &str) -> Result<Self, String> {
        let found = Self::ALL.iter().copied().find(|choice| choice.argument() == argument);
        found.ok_or_else(|| {
            let all: Vec<_> = Self::ALL.iter().map(|choice| choice.argument()).collect();
            format!("{argument}: not one of {}", all.join(", "))
        })
    }

    /// Some, with commas between them. They keep the order of [`ALL`](Self::ALL).
    fn some_from_argument(argument: &str) -> Result<Vec<Self>, String> {
        let some = argument.split(',').map(Self::from_argument).collect::<Result<Vec<_>, _>>()?;
        Ok(Self::ALL.iter().copied().filter(|choice| some.contains(choice)).collect())
    }
}
