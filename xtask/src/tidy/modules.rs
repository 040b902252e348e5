//! The modules of a crate and name resolution, for the rule against import cycles. Like the compiler, it resolves a path through
//! `use` and `pub use` to the item's definition, and returns the file of the definition.

use std::collections::BTreeMap;

use syn::{Item, ItemMod};

use super::items::{Import, attributes, defined_name, imports, is_test, path_attribute};

/// The index of a module in [`Crate::modules`]. The crate's root is 0.
pub(super) type ModuleId = usize;

/// The maximum number of imports between a name and its definition, since imports can refer to each other.
const MAX_IMPORTS: usize = 32;

/// The modules of one target of cargo (a library, a binary, an integration test or an example).
pub(super) struct Crate {
    pub(super) modules: Vec<Module>,
    pub(super) files: Vec<ParsedFile>,
}

/// A file of the crate and the module that it defines.
pub(super) struct ParsedFile {
    pub(super) path: String,
    pub(super) module: ModuleId,
    pub(super) items: Vec<Item>,
}

/// A module with its own file or inside another module's file.
pub(super) struct Module {
    /// The index of its file in [`Crate::files`].
    pub(super) file: usize,
    parent: Option<ModuleId>,
    names: BTreeMap<String, Vec<Binding>>,
    globs: Vec<Vec<String>>,
}

/// The meaning of a name in a module.
#[derive(Clone)]
enum Binding {
    /// An item that the module defines.
    Item,
    /// A module inside it.
    Module(ModuleId),
    /// An import of this path.
    Import(Vec<String>),
}

/// The target of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Target {
    /// A module, which is a namespace only.
    Module(ModuleId),
    /// An item, or a part of one, that this file defines.
    Item(usize),
}

impl Crate {
    /// Reads the crate with the root file `root`. `read` returns the text of a file, or `None` if it does not exist.
    ///
    /// # Errors
    /// If a file is not Rust or a module has no file.
    pub(super) fn load<'a>(root: &str, read: &impl Fn(&str) -> Option<&'a str>) -> Result<Self, String> {
        let mut loaded = Self { modules: Vec::new(), files: Vec::new() };
        let folder = parent_folder(root);
        loaded.load_file(root, folder, None, read)?;
        Ok(loaded)
    }

    /// Adds the module with the file `path`. The files of its child modules are in `folder`.
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

    /// Adds the names that `items` define to `module`, and loads the modules among them.
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

    /// Loads a `mod` item, inline or from its file.
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

    /// Adds the name of an import to `module`.
    pub(super) fn add_import(&mut self, module: ModuleId, import: Import) {
        if import.is_glob {
            self.modules[module].globs.push(import.path);
        } else if let Some(name) = import.name {
            self.modules[module].bind(name, Binding::Import(import.path));
        }
    }

    /// The targets in this crate of `path`, as written in `module`. Empty for names of other crates, generic parameters and
    /// local variables; more than one if `cfg` selects between definitions.
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

    /// The targets of `path` relative to `module`, from outside of it.
    fn descend(&self, module: ModuleId, path: &[String], budget: usize) -> Vec<Target> {
        if path.is_empty() {
            return vec![Target::Module(module)];
        }
        let found = self.lookup(module, path, budget);
        // A name that is neither found nor imported from another crate is defined by a macro.
        if found.is_empty() && !self.is_foreign(module, &path[0]) {
            return vec![Target::Item(self.modules[module].file)];
        }
        found
    }

    /// The targets of `path`, which begins with a name in the scope of `module`.
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
        // `use serde_json;` and `pub use rayon;` refer to the crate of the same name.
        if target == [name] {
            return Vec::new();
        }
        let whole: Vec<String> = target.iter().chain(rest).cloned().collect();
        self.resolve_within(module, &whole, budget)
    }

    /// The targets of `path` through `use glob::*` in `module`.
    fn through_glob(&self, module: ModuleId, glob: &[String], path: &[String], budget: usize) -> Vec<Target> {
        let targets = self.resolve_within(module, glob, budget).into_iter();
        let targets = targets.flat_map(|target| match target {
            // Glob imports of each other end with the budget.
            Target::Module(source) => self.lookup(source, path, budget),
            // The variants of an enum are not resolved: the glob itself is an import from the enum's file.
            Target::Item(_) => Vec::new(),
        });
        targets.collect()
    }

    /// The child module `name` of `module`.
    pub(super) fn child(&self, module: ModuleId, name: &str) -> Option<ModuleId> {
        let bindings = self.modules[module].names.get(name)?;
        bindings.iter().find_map(|binding| if let Binding::Module(child) = binding { Some(*child) } else { None })
    }

    /// Whether the module of `file` is `ancestor` or inside it.
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

    /// Whether `module` defines items other than modules and imports.
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

/// The folder of a file; empty for a file in the root.
fn parent_folder(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// `folder/path`, with `.` and `..` resolved.
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
