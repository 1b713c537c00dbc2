/* Draws the progress line. Thread: its user's. */
#include "common/cli/progress.h"

#include "common/core/buf.h"
#include "common/core/clock.h"
#include "common/cli/print.h"

#include <string.h>
#include <sys/ioctl.h>

enum { DRAW_MS = 100 };

void progress_init(struct progress *p, const char *what, bool quiet) {
    *p = (struct progress){.on = !quiet && isatty(STDERR_FILENO), .started_ms = clock_mono_ms(), .what = what};
}

/* Fits one row, because only one is wiped. A long name is cut at its beginning, which matters least. */
static void print_line(const char *what, const char *rest, size_t len) {
    struct winsize size = {0};
    size_t width = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col ? size.ws_col : 80, n = strlen(what);
    size_t room = width > len + 2 ? width - len - 2 : 0;
    fprintf(stderr, "\r\033[K%s%s%s", n > room ? "…" : "", n > room ? what + (n - room) : what, rest);
    fflush(stderr);
}

void progress_show(struct progress *p, int64_t bytes, int64_t total) {
    int64_t now = clock_mono_ms();
    if (!p->on || (p->shown && now - p->drawn_ms < DRAW_MS)) return;
    p->drawn_ms = now;
    p->shown = true;
    char done[SIZE_TEXT_MAX], all[SIZE_TEXT_MAX], rate[SIZE_TEXT_MAX], left[SIZE_TEXT_MAX];
    struct buf b;
    int64_t ms = now - p->started_ms, per_s = ms > 0 ? bytes * 1000 / ms : 0;
    buf_init(&b, 200);
    int r = buf_printf(&b, "  %s", size_text(bytes, done));
    if (total > 0 && r == 0) {
        int percent = (int)((double)bytes * 100 / (double)total);
        r = buf_printf(&b, " of %s  %d %%", size_text(total, all), percent > 100 ? 100 : percent);
    }
    if (r == 0) r = buf_printf(&b, "  %s/s", size_text(per_s, rate));
    if (r == 0 && total > bytes && per_s > 0) r = buf_printf(&b, "  %s left", time_text((total - bytes) / per_s, left));
    if (r == 0) print_line(p->what, b.data, b.len);
    buf_fini(&b);
}

void progress_end(struct progress *p) {
    if (p->shown) fputs("\r\033[K", stderr);
    p->shown = false;
}
