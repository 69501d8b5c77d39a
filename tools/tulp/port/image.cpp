#include "port/image.hpp"

#include <fcntl.h>
#include <gelf.h>

#include <cstdlib>
#include <cstring>
#include <fstream>
#include <memory>
#include <sstream>
#include <system_error>

#include "descriptor.hpp"
#include "exit_code.hpp"

namespace tool::port {
namespace {

namespace fs = std::filesystem;

/// An open ELF file.  What is wrong in it libelf finds out; each of its answers may be null.
class ElfFile {
 public:
  explicit ElfFile(const fs::path& path) : path_(path), file_(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {
    if (!file_) fail(std::generic_category().message(errno));
    ::elf_version(EV_CURRENT);
    std::error_code error;
    if (!fs::is_regular_file(path, error)) fail("not a regular file");
    elf_.reset(::elf_begin(file_.get(), ELF_C_READ, nullptr));  // not mapped: it may shrink while it is read
    if (elf_ == nullptr || ::elf_kind(elf_.get()) != ELF_K_ELF || ::gelf_getehdr(elf_.get(), &header_) == nullptr)
      fail(elf_ != nullptr && ::elf_kind(elf_.get()) == ELF_K_AR
               ? "an archive: check the program that it is linked into"
               : "not an ELF file");
  }
  [[noreturn]] void fail(const std::string& what) const {
    throw Failure(ExitCode::failed, path_.string() + ": " + what);
  }
  const GElf_Ehdr& header() const noexcept { return header_; }
  bool has_segment(GElf_Word type) const {
    std::size_t count = 0;
    if (::elf_getphdrnum(elf_.get(), &count) != 0) fail_damaged();
    for (std::size_t i = 0; i < count; ++i) {
      GElf_Phdr segment{};
      if (::gelf_getphdr(elf_.get(), static_cast<int>(i), &segment) == nullptr) fail_damaged();
      if (segment.p_type == type) return true;
    }
    return false;
  }
  /// Calls `visit(section, data)` with the first section of a type; false if there is none.
  template <class Visit>
  bool with_section(GElf_Word type, Visit visit) const {
    for (Elf_Scn* at = nullptr; (at = ::elf_nextscn(elf_.get(), at)) != nullptr;) {
      GElf_Shdr section{};
      if (::gelf_getshdr(at, &section) == nullptr) fail_damaged();
      if (section.sh_type != type) continue;
      Elf_Data* const data = ::elf_getdata(at, nullptr);
      if (data == nullptr) fail_damaged();
      visit(section, *data);
      return true;
    }
    return false;
  }
  std::string string(const GElf_Shdr& section, std::size_t offset) const {
    const char* text = ::elf_strptr(elf_.get(), section.sh_link, offset);
    if (text == nullptr) fail_damaged();
    return text;
  }
  [[noreturn]] void fail_damaged() const { fail("damaged, or cut off"); }

 private:
  struct End {
    void operator()(Elf* elf) const { ::elf_end(elf); }
  };

  fs::path path_;
  Descriptor file_;
  std::unique_ptr<Elf, End> elf_;
  GElf_Ehdr header_{};
};

constexpr GElf_Half machine =
#if defined(__x86_64__)
    EM_X86_64;
#elif defined(__aarch64__)
    EM_AARCH64;
#elif defined(__riscv)
    EM_RISCV;
#elif defined(__powerpc64__)
    EM_PPC64;
#elif defined(__s390x__)
    EM_S390;
#else
    EM_NONE;
#endif

void check_kind(const ElfFile& file) {
  const GElf_Ehdr& header = file.header();
  if (header.e_ident[EI_CLASS] != ELFCLASS64) file.fail("for 32 bits, which tulp is not");
  if (machine != EM_NONE && header.e_machine != machine) file.fail("for another machine than this tulp");
  if (header.e_type == ET_REL) file.fail("an object file: check the program that it is linked into");
  if (header.e_type == ET_CORE) file.fail("a core file");
  if (header.e_type != ET_EXEC && header.e_type != ET_DYN) file.fail("neither a program nor a library");
}

void add_folders(Image& image, const std::string& list) {
  std::istringstream stream(list);
  for (std::string folder; std::getline(stream, folder, ':');) {
    for (const char* const origin : {"$ORIGIN", "${ORIGIN}"})
      if (const auto at = folder.find(origin); at != folder.npos)
        folder.replace(at, std::strlen(origin), fs::absolute(image.path).parent_path().string());
    image.needed_folders.emplace_back(folder);
  }
}

void read_dynamic(const ElfFile& file, Image& image, bool& is_pie) {
  file.with_section(SHT_DYNAMIC, [&](const GElf_Shdr& section, Elf_Data& data) {
    GElf_Dyn entry{};
    for (int i = 0; ::gelf_getdyn(&data, i, &entry) != nullptr && entry.d_tag != DT_NULL; ++i) {
      switch (entry.d_tag) {
        case DT_NEEDED: image.needed.push_back(file.string(section, entry.d_un.d_val)); break;
        case DT_RPATH:
        case DT_RUNPATH: add_folders(image, file.string(section, entry.d_un.d_val)); break;
        case DT_SYMBOLIC: image.is_symbolic = true; break;
        case DT_FLAGS: image.is_symbolic |= (entry.d_un.d_val & DF_SYMBOLIC) != 0; break;
        case DT_FLAGS_1: is_pie |= (entry.d_un.d_val & DF_1_PIE) != 0; break;
        default: break;
      }
    }
  });
}

void read_symbols(const ElfFile& file, Image& image) {
  const bool has_any = file.with_section(SHT_DYNSYM, [&](const GElf_Shdr& section, Elf_Data& data) {
    GElf_Sym symbol{};
    for (int i = 1; ::gelf_getsym(&data, i, &symbol) != nullptr; ++i) {
      auto& names = symbol.st_shndx == SHN_UNDEF ? image.imports : image.exports;
      names.insert(file.string(section, symbol.st_name));
    }
  });
  if (!has_any) file.fail("its sections were stripped off, so that its imports cannot be read");
}

/// The loader passes over libraries of other machines.
bool is_of_this_machine(const fs::path& path) {
  GElf_Half found = EM_NONE;
  char ident[EI_NIDENT] = {};
  std::ifstream file(path, std::ios::binary);
  file.read(ident, sizeof ident);
  file.ignore(sizeof found);  // e_type
  file.read(reinterpret_cast<char*>(&found), sizeof found);
  return file.good() && ident[EI_CLASS] == ELFCLASS64 && (machine == EM_NONE || found == machine);
}

/// What /etc/ld.so.conf names, and what every loader knows.
std::vector<fs::path> system_folders() {
  std::vector<fs::path> folders;
  std::error_code error;
  std::vector<fs::path> lists = {"/etc/ld.so.conf"};
  for (const auto& entry : fs::directory_iterator("/etc/ld.so.conf.d", error)) lists.push_back(entry.path());
  for (const fs::path& list : lists) {
    std::ifstream stream(list);
    for (std::string line; std::getline(stream, line);)
      if (!line.empty() && line.front() == '/') folders.emplace_back(line);
  }
  for (const char* const folder : {"/lib64", "/usr/lib64", "/lib", "/usr/lib"}) folders.emplace_back(folder);
  return folders;
}

}  // namespace

Image read_image(const fs::path& path) {
  const ElfFile file(path);
  check_kind(file);
  Image image;
  image.path = path;
  bool is_pie = false;
  const bool has_interpreter = file.has_segment(PT_INTERP);
  const bool is_dynamic = file.has_segment(PT_DYNAMIC);
  if (is_dynamic) read_dynamic(file, image, is_pie);
  image.is_program = file.header().e_type == ET_EXEC || is_pie || has_interpreter;
  image.is_static = image.is_program && !has_interpreter;
  if (!image.is_static) read_symbols(file, image);
  return image;
}

fs::path find_needed(const Image& image, const std::string& name) {
  std::error_code error;
  if (name.find('/') != name.npos) return fs::exists(name, error) ? fs::path(name) : fs::path();
  std::vector<fs::path> folders = image.needed_folders;
  if (const char* list = std::getenv("LD_LIBRARY_PATH")) {
    std::istringstream stream(list);
    for (std::string folder; std::getline(stream, folder, ':');) folders.emplace_back(folder);
  }
  static const std::vector<fs::path> of_system = system_folders();
  folders.insert(folders.end(), of_system.begin(), of_system.end());
  for (const fs::path& folder : folders)
    if (fs::is_regular_file(folder / name, error) && is_of_this_machine(folder / name)) return folder / name;
  return {};
}

}  // namespace tool::port
