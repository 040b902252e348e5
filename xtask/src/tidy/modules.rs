//! The modules of one crate and what their names mean, for the rule against import cycles. A path is resolved to the file
//! that defines the item, through `use` and `pub use`, as the compiler does; what the rule does not need is left out.

use std::collections::BTreeMap;

use syn::{Item, ItemMod};

use super::items::{Import, attributes, defined_name, imports, is_test, path_attribute};

/// The index of a module in [`Crate::modules`]. The crate's root is 0.
pub(super) type ModuleId = usize;

/// How many imports lead from a name to its definition, at most. `use a::b` in `a` would never end.
const MAX_IMPORTS: usize = 32;

/// The modules of one target of cargo (a library, a binary, an integration test or an example).
pub(super) struct Crate {
    pub(super) modules: Vec<Module>,
    pub(super) files: Vec<ParsedFile>,
}

/// A file of the crate, with the module that it is the body of.
pub(super) struct ParsedFile {
    pub(super) path: String,
    pub(super) module: ModuleId,
    pub(super) items: Vec<Item>,
}

/// A module, in a file of its own or inside one.
pub(super) struct Module {
    /// The index of its file in [`Crate::files`].
    pub(super) file: usize,
    parent: Option<ModuleId>,
    names: BTreeMap<String, Vec<Binding>>,
    globs: Vec<Vec<String>>,
}

/// What a name in a module refers to.
#[derive(Clone)]
enum Binding {
    /// An item that the module defines.
    Item,
    /// A module inside it.
    Module(ModuleId),
    /// An import of this path.
    Import(Vec<String>),
}

/// What a path leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Target {
    /// A module, which is a namespace and not an item of any file.
    Module(ModuleId),
    /// An item, or something inside one, that this file defines.
    Item(usize),
}

impl Crate {
    /// Reads the crate whose root is the file `root`. `read` returns a file's text, if there is such a file.
    ///
    /// # Errors
    /// If a file is not Rust or a module has no file.
    pub(super) fn load<'a>(root: &str, read: &impl Fn(&str) -> Option<&'a str>) -> Result<Self, String> {
        let mut loaded = Self { modules: Vec::new(), files: Vec::new() };
        let folder = parent_folder(root);
        loaded.load_file(root, folder, None, read)?;
        Ok(loaded)
    }

    /// Adds the module whose body is the file `path`; its child modules have their files in `folder`.
    fn load_file<'a>(
        &mut self,
        path: &str,
        folder: &str,
        parent: Option<ModuleId>,
        read: &impl Fn(&str) -> Option<&'a str>,
    ) -> Result<ModuleId, String> {
        let text = read(path).ok_or_else(|| format!("`{path}` is not among the files"))?;
        let parsed = syn::parse_file(text)
            .map_err(|error| format!("{path}:{}: not Rust: {error}", error.span().start().line))?;
        let file = self.files.len();
        let module = self.add_module(file, parent);
        self.files.push(ParsedFile { path: path.to_owned(), module, items: Vec::new() });
        self.load_items(module, &parsed.items, folder, read)?;
        self.files[file].items = parsed.items;
        Ok(module)
    }

    fn add_module(&mut self, file: usize, parent: Option<ModuleId>) -> ModuleId {
        self.modules.push(Module { file, parent, names: BTreeMap::new(), globs: Vec::new() });
        self.modules.len() - 1
    }

    /// Records what `items` define in `module`, and loads the modules among them.
    fn load_items<'a>(
        &mut self,
        module: ModuleId,
        items: &[Item],
        folder: &str,
        read: &impl Fn(&str) -> Option<&'a str>,
    ) -> Result<(), String> {
        for item in items.iter().filter(|item| !is_test(attributes(item))) {
            if let Item::Mod(child) = item {
                let id = self.load_module(module, child, folder, read)?;
                self.modules[module].bind(child.ident.to_string(), Binding::Module(id));
            } else if let Item::Use(item) = item {
                for import in imports(item) {
                    self.add_import(module, import);
                }
            } else if let Some(name) = defined_name(item) {
                self.modules[module].bind(name, Binding::Item);
            }
        }
        Ok(())
    }

    /// Loads one `mod`, with a body or a file.
    fn load_module<'a>(
        &mut self,
        parent: ModuleId,
        item: &ItemMod,
        folder: &str,
        read: &impl Fn(&str) -> Option<&'a str>,
    ) -> Result<ModuleId, String> {
        let name = item.ident.to_string();
        let own_folder = join(folder, &name);
        let file = self.modules[parent].file;
        if let Some((_, items)) = &item.content {
            let module = self.add_module(file, Some(parent));
            self.load_items(module, items, &own_folder, read)?;
            return Ok(module);
        }
        if let Some(path) = path_attribute(&item.attrs) {
            let path = join(parent_folder(&self.files[file].path), &path);
            return self.load_file(&path, parent_folder(&path), Some(parent), read);
        }
        let candidates = [format!("{own_folder}.rs"), format!("{own_folder}/mod.rs")];
        let path = candidates.iter().find(|path| read(path).is_some());
        let path = path.ok_or_else(|| format!("`mod {name}` in `{}` has no file", self.files[file].path))?;
        self.load_file(path, &own_folder, Some(parent), read)
    }

    /// Makes the name of an import known in `module`.
    pub(super) fn add_import(&mut self, module: ModuleId, import: Import) {
        if import.is_glob {
            self.modules[module].globs.push(import.path);
        } else if let Some(name) = import.name {
            self.modules[module].bind(name, Binding::Import(import.path));
        }
    }

    /// What `path`, written in `module`, refers to in this crate. Empty for names of other crates, generic parameters and
    /// local variables; more than one where `cfg` chooses between definitions.
    pub(super) fn resolve(&self, module: ModuleId, path: &[String]) -> Vec<Target> {
        let mut targets = self.resolve_within(module, path, MAX_IMPORTS);
        targets.sort_unstable();
        targets.dedup();
        targets
    }

    fn resolve_within(&self, module: ModuleId, path: &[String], budget: usize) -> Vec<Target> {
        let Some((first, rest)) = path.split_first() else { return Vec::new() };
        match first.as_str() {
            "crate" | "$crate" => self.descend(0, rest, budget),
            "self" => self.descend(module, rest, budget),
            "super" => {
                let parent = self.modules[module].parent;
                parent.map_or_else(Vec::new, |parent| match rest.first().map(String::as_str) {
                    Some("super") => self.resolve_within(parent, rest, budget),
                    _ => self.descend(parent, rest, budget),
                })
            }
            _ => self.lookup(module, path, budget),
        }
    }

    /// What `path` refers to as seen from outside `module`.
    fn descend(&self, module: ModuleId, path: &[String], budget: usize) -> Vec<Target> {
        if path.is_empty() {
            return vec![Target::Module(module)];
        }
        let found = self.lookup(module, path, budget);
        // A name that a macro defines, or one of another crate that is re-exported here.
        if found.is_empty() && !self.is_foreign(module, &path[0]) {
            return vec![Target::Item(self.modules[module].file)];
        }
        found
    }

    /// What `path` refers to, its first name being one of `module`.
    fn lookup(&self, module: ModuleId, path: &[String], budget: usize) -> Vec<Target> {
        let Some(budget) = budget.checked_sub(1) else { return Vec::new() };
        let (first, rest) = path.split_first().expect("callers pass a path with a first name");
        let Some(bindings) = self.modules[module].names.get(first) else {
            return self.modules[module]
                .globs
                .iter()
                .flat_map(|glob| self.through_glob(module, glob, path, budget))
                .collect();
        };
        let targets = bindings.iter().flat_map(|binding| match binding {
            Binding::Item => vec![Target::Item(self.modules[module].file)],
            Binding::Module(child) => self.descend(*child, rest, budget),
            Binding::Import(target) => self.through_import(module, first, target, rest, budget),
        });
        targets.collect()
    }

    fn through_import(
        &self,
        module: ModuleId,
        name: &str,
        target: &[String],
        rest: &[String],
        budget: usize,
    ) -> Vec<Target> {
        // `use serde_json;` and `pub use rayon;` bind a name to the crate of the same name.
        if target == [name] {
            return Vec::new();
        }
        let whole: Vec<String> = target.iter().chain(rest).cloned().collect();
        self.resolve_within(module, &whole, budget)
    }

    /// What `path` refers to if `module` has it from `use glob::*`.
    fn through_glob(&self, module: ModuleId, glob: &[String], path: &[String], budget: usize) -> Vec<Target> {
        let targets = self.resolve_within(module, glob, budget).into_iter();
        let targets = targets.flat_map(|target| match target {
            // `use super::*` in a child of the module that is asked ends when the budget does.
            Target::Module(source) => self.lookup(source, path, budget),
            // The variants of an enum: whether this is one of them cannot be seen here, and need not be, since
            // the glob itself is an import from that file.
            Target::Item(_) => Vec::new(),
        });
        targets.collect()
    }

    /// The module `name` that `module` defines.
    pub(super) fn child(&self, module: ModuleId, name: &str) -> Option<ModuleId> {
        let bindings = self.modules[module].names.get(name)?;
        bindings.iter().find_map(|binding| if let Binding::Module(child) = binding { Some(*child) } else { None })
    }

    /// Whether the file is that of a module inside `ancestor`.
    pub(super) fn is_within(&self, file: usize, ancestor: ModuleId) -> bool {
        let mut module = self.modules.iter().position(|module| module.file == file);
        while let Some(id) = module {
            if id == ancestor {
                return true;
            }
            module = self.modules[id].parent;
        }
        false
    }

    /// Whether `module` defines more than modules and imports.
    pub(super) fn defines_items(&self, module: ModuleId) -> bool {
        self.modules[module].names.values().flatten().any(|binding| matches!(binding, Binding::Item))
    }

    /// Whether `name` is imported into `module` from another crate.
    fn is_foreign(&self, module: ModuleId, name: &str) -> bool {
        let has_foreign_glob = || {
            let globs = &self.modules[module].globs;
            globs.iter().any(|glob| self.resolve_within(module, glob, MAX_IMPORTS).is_empty())
        };
        self.modules[module].names.contains_key(name) || has_foreign_glob()
    }
}

impl Module {
    fn bind(&mut self, name: String, binding: Binding) {
        self.names.entry(name).or_default().push(binding);
    }
}

/// The folder of a file; empty for a file at the root.
fn parent_folder(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// `folder/path`, with `..` taken away.
fn join(folder: &str, path: &str) -> String {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in path.split('/') {
        match part {
            "." | "" => {}
            ".." => drop(parts.pop()),
            _ => parts.push(part),
        }
    }
    parts.join("/")
}
