/* Opens each folder from DIR downwards without following symbolic links, so that nothing is written outside DIR. New
 * files are written beside the old ones, and renamed over them once all are on the disk. Thread: main. */
#include "common/cli/engine_write.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/admin/engine_merge.h"
#include "common/cli/print.h"
#include "common/core/alloc.h"

#define FILE_MAX_BYTES (1024 * 1024) /* of an engine's file that is there already */
enum { DIFF_CONTEXT = 3, BACKUPS_MAX = 1000 };

struct change {
    const struct client_file *file;
    char *old; /* NULL: there is none */
    struct stat st;
    struct engine_merge merge;
    int folder;     /* once it is staged; else -1 */
    char temp[300]; /* "": nothing is staged */
    char backup[300];
};

/* --- reading --- */

static const char *name_of(const struct client_file *f) {
    return strrchr(f->path, '/') + 1;
}

static int not_usable(struct error *err, const char *dir, const char *path, const char *what) {
    error_set(err, ERR_UNSUPPORTED, "%s%s %s", dir, path, what);
    error_hint(err,
               "put a plain file or folder in its place, or write the file by hand: without --write it is printed");
    return ERR_UNSUPPORTED;
}

static int open_root(const char *dir, int *root, struct error *err) {
    *root = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (*root >= 0) return 0;
    error_errno(err, "opening %.300s", dir);
    error_hint(err, "give --write a folder that exists: / for this machine, or where its file system is mounted");
    return err->code;
}

/* The folder that holds the file, which the caller closes. make: as mkdir -p. 1: it is not there. */
static int open_folder(int root, const char *dir, const char *path, bool make, int *out, struct error *err) {
    int at = dup(root);
    if (at < 0) return error_errno(err, "opening %s", dir);
    for (const char *p = path + 1, *slash; (slash = strchr(p, '/')); p = slash + 1) {
        char name[256], so_far[4096];
        snprintf(name, sizeof(name), "%.*s", (int)(slash - p), p);
        snprintf(so_far, sizeof(so_far), "%.*s", (int)(slash - path), path);
        int made = make ? mkdirat(at, name, 0755) : -1;
        if (make && made < 0 && errno != EEXIST) {
            error_errno(err, "making %s%s", dir, so_far);
            close(at);
            return err->code;
        }
        int next = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        int saved = errno;
        close(at);
        if (next >= 0 && made == 0 && fchmod(next, 0755) < 0) saved = errno; /* despite the umask: engines read it */
        if (next < 0 && saved == ENOENT && !make) return 1;
        if (next < 0 && (saved == ENOTDIR || saved == ELOOP))
            return not_usable(err, dir, so_far, "is a symbolic link or not a folder; it is not followed");
        if (next < 0) {
            errno = saved;
            return error_errno(err, "opening %s%s", dir, so_far);
        }
        at = next;
    }
    *out = at;
    return 0;
}

/* 0 with c->old NULL where there is no file. */
static int read_old(struct change *c, int folder, const char *dir, struct error *err) {
    const char *path = c->file->path;
    _cleanup_(closep) int fd = openat(folder, name_of(c->file), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT) return 0;
    if (fd < 0 && (errno == ELOOP || errno == ENXIO)) return not_usable(err, dir, path, "is no regular file");
    if (fd < 0) return error_errno(err, "opening %s%s", dir, path);
    if (fstat(fd, &c->st) < 0) return error_errno(err, "reading %s%s", dir, path);
    if (!S_ISREG(c->st.st_mode)) return not_usable(err, dir, path, "is no regular file");
    char *old = xmalloc(FILE_MAX_BYTES + 2);
    size_t len = 0;
    ssize_t n;
    while (len <= FILE_MAX_BYTES && (n = read(fd, old + len, FILE_MAX_BYTES + 1 - len)) != 0) {
        if (n > 0) len += (size_t)n;
        if (n >= 0 || errno == EINTR) continue;
        free(old);
        return error_errno(err, "reading %s%s", dir, path);
    }
    old[len] = '\0';
    if (len > FILE_MAX_BYTES || strlen(old) != len) {
        free(old);
        return not_usable(err, dir, path, "is larger than 1 MiB, or no text");
    }
    c->old = old;
    return 0;
}

static int look(struct change *c, int root, const char *dir, struct error *err) {
    int folder = -1;
    int r = open_folder(root, dir, c->file->path, false, &folder, err);
    if (r < 0) return r;
    if (r == 0) {
        r = read_old(c, folder, dir, err);
        close(folder);
        if (r < 0) return r;
    }
    return engine_merge(c->file, c->old, &c->merge, err);
}

/* --- showing --- */

static size_t line_len(const char *s) {
    size_t n = strcspn(s, "\n");
    return n + (s[n] == '\n');
}

static size_t count_lines(const char *s) {
    size_t n = 0;
    for (; *s; s += line_len(s))
        n++;
    return n;
}

static const char *skip_lines(const char *s, size_t n) {
    while (n-- > 0)
        s += line_len(s);
    return s;
}

static bool line_eq(const char *a, const char *b) {
    size_t n = line_len(a);
    return n == line_len(b) && memcmp(a, b, n) == 0;
}

static void print_lines(char sign, const char *s, size_t n) {
    for (; n-- > 0; s += line_len(s)) {
        printf("%c%.*s\n", sign, (int)strcspn(s, "\n"), s);
        if (!s[strcspn(s, "\n")]) puts("\\ No newline at end of file");
    }
}

/* One hunk, from the first line that differs to the last. */
static void print_diff(const char *dir, const char *path, const char *old, const char *new) {
    size_t n = count_lines(old), m = count_lines(new), head = 0, tail = 0;
    while (head < n && head < m && line_eq(skip_lines(old, head), skip_lines(new, head)))
        head++;
    while (tail < n - head && tail < m - head && line_eq(skip_lines(old, n - tail - 1), skip_lines(new, m - tail - 1)))
        tail++;
    size_t before = head < DIFF_CONTEXT ? head : DIFF_CONTEXT, after = tail < DIFF_CONTEXT ? tail : DIFF_CONTEXT;
    size_t gone = n - head - tail, come = m - head - tail, from = head - before;
    size_t n_old = before + gone + after, n_new = before + come + after;
    printf("--- %s%s\n+++ %s%s\n@@ -%zu,%zu +%zu,%zu @@\n", n ? dir : "", n ? path : "/dev/null", dir, path,
           n_old ? from + 1 : 0, n_old, from + 1, n_new);
    print_lines(' ', skip_lines(old, from), before);
    print_lines('-', skip_lines(old, head), gone);
    print_lines('+', skip_lines(new, head), come);
    print_lines(' ', skip_lines(old, head + gone), after);
}

/* --- writing --- */

static int write_new(int folder, const char *name, mode_t mode, const struct stat *owner, const char *text) {
    _cleanup_(closep) int fd = openat(folder, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0) return -errno;
    int r = 0;
    for (size_t len = strlen(text); len > 0 && r == 0;) {
        ssize_t n = write(fd, text, len);
        if (n < 0 && errno != EINTR) r = -errno;
        if (n > 0) text += n, len -= (size_t)n;
    }
    /* Only root can give a file to another owner. Others keep it. */
    if (r == 0 && owner && geteuid() == 0 && fchown(fd, owner->st_uid, owner->st_gid) < 0) r = -errno;
    if (r == 0 && (fchmod(fd, mode) < 0 || fsync(fd) < 0)) r = -errno;
    if (r < 0) unlinkat(folder, name, 0);
    return r;
}

static int cannot_write(struct error *err, int code, const char *dir, const char *path) {
    error_set(err, code, "writing %s%s: %s", dir, path, error_name(code));
    if (code == -EACCES || code == -EPERM) error_hint(err, "run this as root (sudo)");
    return code;
}

/* The new content beside the old one. */
static int stage(struct change *c, int root, const char *dir, struct error *err) {
    int r = open_folder(root, dir, c->file->path, true, &c->folder, err);
    if (r < 0 && (r == -EACCES || r == -EPERM)) error_hint(err, "run this as root (sudo)");
    if (r < 0) return r;
    snprintf(c->temp, sizeof(c->temp), ".%.200s.entrepot-%ld", name_of(c->file), (long)getpid());
    mode_t mode = c->old ? c->st.st_mode & 07777 : 0644;
    r = write_new(c->folder, c->temp, mode, c->old ? &c->st : NULL, c->merge.after);
    if (r < 0) c->temp[0] = '\0';
    return r < 0 ? cannot_write(err, r, dir, c->file->path) : 0;
}

/* What was there stays under another name; names that are taken are left alone. */
static int back_up(struct change *c, const char *dir, struct error *err) {
    int r = -EEXIST;
    for (int i = 1; r == -EEXIST && i <= BACKUPS_MAX; i++) {
        char number[16] = "";
        if (i > 1) snprintf(number, sizeof(number), ".%d", i);
        snprintf(c->backup, sizeof(c->backup), "%.200s.before-entrepot%s", name_of(c->file), number);
        r = write_new(c->folder, c->backup, c->st.st_mode & 07777, &c->st, c->old);
    }
    return r < 0 ? cannot_write(err, r, dir, c->file->path) : 0;
}

static int put_in_place(struct change *c, const char *dir, struct error *err) {
    int r = c->old ? back_up(c, dir, err) : 0;
    if (r < 0) return r;
    if (renameat(c->folder, c->temp, c->folder, name_of(c->file)) < 0)
        return cannot_write(err, -errno, dir, c->file->path);
    c->temp[0] = '\0';
    if (fsync(c->folder) < 0) return cannot_write(err, -errno, dir, c->file->path);
    printf("written: %s%s", dir, c->file->path);
    if (c->old) printf(" (what it was is in %s beside it)", c->backup);
    putchar('\n');
    return 0;
}

static int write_all(struct change *changes, size_t n, int root, const char *dir, struct error *err) {
    int r = 0;
    for (size_t i = 0; i < n && r == 0; i++)
        if (changes[i].merge.after) r = stage(&changes[i], root, dir, err);
    for (size_t i = 0; i < n && r == 0; i++)
        if (changes[i].merge.after) r = put_in_place(&changes[i], dir, err);
    return r;
}

/* --- the whole --- */

static void change_fini(struct change *c) {
    if (c->temp[0]) unlinkat(c->folder, c->temp, 0);
    if (c->folder >= 0) close(c->folder);
    free(c->old);
    engine_merge_fini(&c->merge);
}

/* Each command that makes the engine read the files, once. */
static void print_then(const struct change *changes, size_t n, const char *lead) {
    const char *last = NULL;
    for (size_t i = 0; i < n; i++) {
        const char *then = changes[i].merge.after ? changes[i].file->then : NULL;
        if (then && (!last || strcmp(last, then) != 0)) printf("%s%s\n", lead, then);
        if (then) last = then;
    }
}

/* Prints what is wrong with each refused file. EXIT_FAILED if there is one. */
static int look_at_all(const struct command_context *ctx, struct change *changes, size_t n, int root, const char *dir) {
    int status = EXIT_DONE;
    for (size_t i = 0; i < n; i++) {
        struct error err = {0};
        if (look(&changes[i], root, dir, &err) == 0) continue;
        status = print_failure(ctx, &err);
        if (changes[i].merge.add)
            fprintf(stderr, "add to %s%s by hand:\n\n%s\n", dir, changes[i].file->path, changes[i].merge.add);
    }
    return status;
}

int engine_write(const struct command_context *ctx, const struct client_files *files, const char *dir, bool dry) {
    struct error err = {0};
    _cleanup_(closep) int root = -1;
    size_t n = files->n, n_changed = 0;
    char shown[4096]; /* "/etc/…" stands for itself under "/" */
    if (open_root(dir, &root, &err) < 0) return print_failure(ctx, &err);
    snprintf(shown, sizeof(shown), "%.4000s", dir);
    for (size_t len = strlen(shown); len && shown[len - 1] == '/';)
        shown[--len] = '\0';
    struct change *changes = xcalloc(n + 1, sizeof(*changes));
    for (size_t i = 0; i < n; i++)
        changes[i] = (struct change){.file = &files->items[i], .folder = -1};
    int status = look_at_all(ctx, changes, n, root, shown);
    for (size_t i = 0; i < n; i++) {
        if (!changes[i].merge.after) continue;
        n_changed++;
        if (status == EXIT_DONE)
            print_diff(shown, changes[i].file->path, changes[i].old ? changes[i].old : "", changes[i].merge.after);
    }
    fflush(stdout);
    if (status != EXIT_DONE) {
        fprintf(stderr, "nothing was written; when that is done, run this again for the rest\n");
    } else if (n_changed == 0) {
        puts("nothing to change: all is as it should be");
    } else if (dry) {
        printf("%zu file%s would be written\n", n_changed, n_changed == 1 ? "" : "s");
    } else if (write_all(changes, n, root, shown, &err) < 0) {
        status = print_failure(ctx, &err);
    } else {
        print_then(changes, n, "then: ");
    }
    for (size_t i = 0; i < n; i++)
        change_fini(&changes[i]);
    free(changes);
    return status;
}
