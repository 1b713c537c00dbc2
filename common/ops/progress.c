/* Draws the progress line. Thread: its user's. */
#include "common/ops/progress.h"

#include "common/core/clock.h"
#include "common/ops/table.h"

enum { DRAW_MS = 100 };

void progress_init(struct progress *p, const char *what, bool quiet) {
    *p = (struct progress){.on = !quiet && isatty(STDERR_FILENO), .started_ms = clock_mono_ms(), .what = what};
}

void progress_show(struct progress *p, int64_t bytes, int64_t total) {
    int64_t now = clock_mono_ms();
    if (!p->on || (p->shown && now - p->drawn_ms < DRAW_MS)) return;
    p->drawn_ms = now;
    p->shown = true;
    char done[SIZE_TEXT_MAX], all[SIZE_TEXT_MAX], rate[SIZE_TEXT_MAX], left[SIZE_TEXT_MAX];
    int64_t ms = now - p->started_ms, per_s = ms > 0 ? bytes * 1000 / ms : 0;
    fprintf(stderr, "\r\033[K%s  %s", p->what, size_text(bytes, done));
    if (total > 0) {
        int percent = (int)((double)bytes * 100 / (double)total);
        fprintf(stderr, " of %s  %d %%", size_text(total, all), percent > 100 ? 100 : percent);
    }
    fprintf(stderr, "  %s/s", size_text(per_s, rate));
    if (total > bytes && per_s > 0) fprintf(stderr, "  %s left", time_text((total - bytes) / per_s, left));
    fflush(stderr);
}

void progress_end(struct progress *p) {
    if (p->shown) fputs("\r\033[K", stderr);
    p->shown = false;
}
