/* rules - see rules.h. */
#include "agent/rules.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <string.h>

#include "base/arena.h"
#include "base/compiler.h"
#include "base/file.h"
#include "base/text.h"

/* One line of the file, which is read from left to right. */
struct reader {
    struct rules *rules;
    const char *file;
    unsigned line;
    const char *at;
    struct rules_profile *profile; /* to which the lines belong; NULL: none yet */
    bool is_skipping;              /* the profile line had an error */
    char word[RULES_NAME_MAX + 1];
};

#define EXPECTED_VALUE "expected ret, argN or *argN with N from 1 to 22"

PRINTF(2, 3) static bool fail(struct reader *r, const char *format, ...)
{
    char buffer[PATH_MAX + RULES_LINE_MAX];
    struct text text;
    va_list args;

    text_init(&text, buffer, sizeof buffer);
    text_addf(&text, "%s:%u: ", r->file, r->line);
    va_start(args, format);
    text_addv(&text, format, args);
    va_end(args);
    r->rules->n_errors++;
    r->rules->complain(r->rules->arg, buffer);
    return false;
}

static bool fail_memory(struct reader *r)
{
    return fail(r, "%s; the line is left out", arena_refusal());
}

/* ---- words ---- */

static void skip_blanks(struct reader *r)
{
    r->at += strspn(r->at, " \t");
}

/* What stands here up to the next blank, for complaints. */
static const char *rest(struct reader *r)
{
    struct text text;

    skip_blanks(r);
    const size_t size = strcspn(r->at, " \t");
    if (!size)
        return "end of line";
    text_init(&text, r->word, sizeof r->word);
    text_add_bytes(&text, r->at, size);
    return r->word;
}

/* Takes `token` when it comes next. */
static bool take(struct reader *r, const char *token)
{
    skip_blanks(r);
    if (!text_starts_with(r->at, token))
        return false;
    r->at += strlen(token);
    return true;
}

/* The same for a word, which must end there. */
static bool take_word(struct reader *r, const char *word)
{
    const size_t size = strlen(word);

    skip_blanks(r);
    if (strcspn(r->at, " \t=") != size || memcmp(r->at, word, size) != 0)
        return false;
    r->at += size;
    return true;
}

static const char *copy(const char *word)
{
    const size_t size = strlen(word) + 1;
    char *text = arena_alloc(size);

    return text ? memcpy(text, word, size) : NULL;
}

/* ---- values ---- */

static bool read_number(struct reader *r, int64_t *ret_number)
{
    const bool is_negative = take(r, "-");
    const char *at = r->at;
    uint64_t magnitude;
    int err;

    if (text_starts_with(at, "0x")) {
        at += 2;
        err = text_parse_hex(&at, &magnitude);
    } else {
        err = text_parse_u64(&at, &magnitude);
    }
    if (err == -EINVAL)
        return fail(r, "%s: not a number; expected a whole number such as 0, -1 or 0x10",
                    rest(r));
    if (err < 0 || magnitude > INT64_MAX)
        return fail(r, "%s: number too large; expected one of 63 bits", rest(r));
    r->at = at;
    *ret_number = is_negative ? -(int64_t)magnitude : (int64_t)magnitude;
    return true;
}

static bool read_arg(struct reader *r, struct rules_value *ret_value)
{
    const char *start = r->at;
    const char *at = start + 3;
    uint64_t n;

    if (text_parse_u64(&at, &n) < 0 || n < 1 || n > RULES_ARG_MAX)
        return fail(r, "%s: no such argument; " EXPECTED_VALUE, rest(r));
    r->at = at;
    ret_value->arg = (uint8_t)n;
    return true;
}

/* Behind a value: :int, :long, or something that is no part of it. */
static bool read_width(struct reader *r, struct rules_value *value, bool is_int_by_default)
{
    value->is_int = is_int_by_default;
    if (*r->at == ':') {
        value->is_int = text_starts_with(r->at, ":int");
        if (!value->is_int && !text_starts_with(r->at, ":long"))
            return fail(r, "%s: no such width; expected :int or :long", rest(r));
        r->at += value->is_int ? 4 : 5;
    }
    if (*r->at && !strchr(" \t=!<>*#", *r->at))
        return fail(r, "%s: text behind a value; " EXPECTED_VALUE ", then a blank", rest(r));
    return true;
}

static bool read_value(struct reader *r, struct rules_value *ret_value, bool ret_is_int)
{
    *ret_value = (struct rules_value){.kind = RULES_ARG};
    skip_blanks(r);
    const char *start = r->at;
    if (take(r, "*"))
        ret_value->kind = RULES_AT_ARG;
    if (text_starts_with(r->at, "arg"))
        return read_arg(r, ret_value) && read_width(r, ret_value, false);
    if (ret_value->kind == RULES_ARG && text_starts_with(r->at, "ret")) {
        r->at += 3;
        ret_value->kind = RULES_RET;
        return read_width(r, ret_value, ret_is_int);
    }
    r->at = start;
    return fail(r, "%s: not a value; " EXPECTED_VALUE, rest(r));
}

/* ---- the parts of a line ---- */

static bool read_key(struct reader *r, struct rules_action *action)
{
    if (!take_word(r, "key") || !take(r, "="))
        return fail(r, "%s: no key; expected key=ret, key=argN or key=*argN", rest(r));
    if (!read_value(r, &action->key, false))
        return false;
    if (action->is_release && action->key.kind == RULES_RET)
        return fail(r, "key=ret: a release takes its object out before the call; expected "
                       "key=argN or key=*argN");
    return true;
}

static bool read_factor(struct reader *r, struct rules_value *ret_value)
{
    skip_blanks(r);
    if (*r->at != '-' && !(*r->at >= '0' && *r->at <= '9'))
        return read_value(r, ret_value, false);
    *ret_value = (struct rules_value){.kind = RULES_NUMBER};
    if (*r->at == '-')
        return fail(r, "%s: a negative size; expected a number, ret, argN or *argN", rest(r));
    return read_number(r, &ret_value->number);
}

/* bytes=..., when it comes next. */
static bool read_size(struct reader *r, struct rules_size *ret_size)
{
    ret_size->n_factors = 0;
    if (!take_word(r, "bytes"))
        return true;
    if (!take(r, "="))
        return fail(r, "bytes: no size; expected bytes=argN or bytes=argN*argM");
    do {
        if (ret_size->n_factors == RULES_FACTORS_MAX)
            return fail(r, "%s: one factor too many; expected a product of two", rest(r));
        if (!read_factor(r, &ret_size->factors[ret_size->n_factors]))
            return false;
        ret_size->n_factors++;
    } while (take(r, "*"));
    return true;
}

static bool read_compare(struct reader *r, struct rules_condition *condition)
{
    static const struct {
        const char *sign;
        enum rules_compare compare;
    } signs[] = {
        {"==", RULES_EQ},
        {"!=", RULES_NE},
        {"<=", RULES_LE},
        {">=", RULES_GE},
        {"<",  RULES_LT},
        {">",  RULES_GT},
    };
    for (size_t i = 0; i < COUNT_OF(signs); i++) {
        if (take(r, signs[i].sign)) {
            condition->compare = signs[i].compare;
            return true;
        }
    }
    return fail(r, "%s: no comparison; expected ==, !=, <, <=, > or >=", rest(r));
}

static bool read_conditions(struct reader *r, struct rules_action *action)
{
    if (!take_word(r, "if"))
        return true;
    do {
        struct rules_condition *condition = &action->conditions[action->n_conditions];
        if (action->n_conditions == RULES_CONDITIONS_MAX)
            return fail(r, "%s: one condition too many; expected up to four", rest(r));
        if (!read_value(r, &condition->value, action->key.kind != RULES_RET) ||
            !read_compare(r, condition) || !read_number(r, &condition->number))
            return false;
        action->n_conditions++;
        action->needs_result |= action->is_release && condition->value.kind == RULES_RET;
    } while (take_word(r, "and"));
    return true;
}

static bool read_end(struct reader *r, const char *expected)
{
    skip_blanks(r);
    return !*r->at || fail(r, "%s: unknown word; expected %s", rest(r), expected);
}

/* ---- lines ---- */

/* Frames of theirs are left twice, or go on in another process that shares the stack. */
static bool returns_twice(const char *function)
{
    static const char *const names[] = {"setjmp", "_setjmp", "sigsetjmp",  "__sigsetjmp",
                                        "vfork",  "__vfork", "getcontext", "syscall"};

    for (size_t i = 0; i < COUNT_OF(names); i++)
        if (strcmp(function, names[i]) == 0)
            return true;
    return false;
}

/* Into r->word. */
static bool read_function(struct reader *r)
{
    struct text text;

    skip_blanks(r);
    const size_t size = strcspn(r->at, " \t=");
    if (size == 0 || r->at[size] == '=')
        return fail(r, "%s: no function; expected its name as the linker knows it", rest(r));
    const size_t good = strspn(r->at, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                      "0123456789_$.");
    if (good < size || size > RULES_NAME_MAX || (*r->at >= '0' && *r->at <= '9'))
        return fail(r, "%s: not the name of a function; expected letters, digits, _ $ and .",
                    rest(r));
    text_init(&text, r->word, sizeof r->word);
    text_add_bytes(&text, r->at, size);
    r->at += size;
    return !returns_twice(r->word) ||
           fail(r, "%s: may return twice and cannot be followed; expected another function",
                r->word);
}

static struct rules_function *find_function(struct reader *r)
{
    struct rules *rules = r->rules;

    for (size_t i = 0; i < rules->n_functions; i++)
        if (strcmp(rules->functions[i]->name, r->word) == 0)
            return rules->functions[i];
    if (rules->n_functions == RULES_FUNCTIONS_MAX) {
        fail(r, "%s: one function too many; expected up to %d", r->word, RULES_FUNCTIONS_MAX);
        return NULL;
    }
    struct rules_function *function = arena_alloc(sizeof *function);
    if (!function || !(function->name = copy(r->word))) {
        fail_memory(r);
        return NULL;
    }
    return rules->functions[rules->n_functions++] = function;
}

static bool is_known(const struct rules_function *function, const struct rules_action *action)
{
    for (const struct rules_action *a = function->actions; a; a = a->next)
        if (a->profile == action->profile && a->is_release == action->is_release &&
            a->key.kind == action->key.kind && a->key.arg == action->key.arg &&
            a->key.is_int == action->key.is_int)
            return true;
    return false;
}

static bool add_action(struct reader *r, struct rules_function *function,
                       const struct rules_action *action)
{
    struct rules_action **end = &function->actions;
    int n_put_back = action->needs_result;

    for (; *end; end = &(*end)->next)
        n_put_back += (*end)->needs_result;
    if (n_put_back > RULES_PUT_BACK_MAX)
        return fail(r, "%s: one release with a condition on ret too many; expected up to %d",
                    function->name, RULES_PUT_BACK_MAX);
    struct rules_action *kept = arena_alloc(sizeof *kept);
    if (!kept)
        return fail_memory(r);
    *kept = *action;
    *end = kept;
    if (!action->is_release)
        r->profile->n_acquires++;
    return true;
}

static bool read_action(struct reader *r, bool is_release)
{
    struct rules_action action = {0};

    if (r->is_skipping)
        return true;
    if (!r->profile)
        return fail(r, "%s before any profile; expected profile NAME above it",
                    is_release ? "release" : "acquire");
    if (!read_function(r))
        return false;
    struct rules_function *function = find_function(r);
    if (!function)
        return false;
    action.profile = r->profile;
    action.is_release = is_release;
    action.is_outside = take_word(r, "outside");
    if (!read_key(r, &action) || (!is_release && !read_size(r, &action.size)) ||
        !read_conditions(r, &action) ||
        !read_end(r, action.n_conditions ? "and, or the end of the line"
                                         : "if, or the end of the line"))
        return false;
    if (!action.size.n_factors)
        action.size = r->profile->size;
    else if (!r->profile->has_size)
        return fail(r, "bytes of a rule in a profile without; expected profile %s bytes=...",
                    r->profile->name);
    if (is_known(function, &action))
        return fail(r, "%s: the same rule twice; expected it once in a profile",
                    function->name);
    return add_action(r, function, &action);
}

static bool is_taken(struct reader *r)
{
    const struct rules *rules = r->rules;

    for (size_t i = 0; i < rules->n_profiles; i++)
        if (strcmp(rules->profiles[i]->name, r->word) == 0)
            return !fail(r, "profile %s: is at %s:%u already; expected another name", r->word,
                         rules->profiles[i]->file, rules->profiles[i]->line);
    return false;
}

/* Into r->word. */
static bool read_profile_name(struct reader *r)
{
    struct text text;

    skip_blanks(r);
    const size_t size = strcspn(r->at, " \t");
    if (size == 0 || size > RULES_NAME_MAX || memchr(r->at, '=', size))
        return fail(r,
                    "%s: no name of a profile; expected profile NAME [bytes=SIZE] with a "
                    "name of up to 255 characters",
                    rest(r));
    for (size_t i = 0; i < size; i++)
        if ((unsigned char)r->at[i] < ' ' || r->at[i] == 0x7f)
            return fail(r, "profile: control character in the name; expected printable ones");
    text_init(&text, r->word, sizeof r->word);
    text_add_bytes(&text, r->at, size);
    r->at += size;
    return true;
}

static bool read_profile(struct reader *r)
{
    struct rules *rules = r->rules;
    struct rules_profile profile = {.file = r->file, .line = r->line};

    if (!read_profile_name(r) || is_taken(r))
        return false;
    if (!(profile.name = copy(r->word)))
        return fail_memory(r);
    if (!read_size(r, &profile.size) || !read_end(r, "bytes=SIZE, or the end of the line"))
        return false;
    profile.has_size = profile.size.n_factors != 0;
    if (rules->n_profiles == RULES_PROFILES_MAX)
        return fail(r, "profile %s: one too many; expected up to %d", profile.name,
                    RULES_PROFILES_MAX);
    if (!(r->profile = arena_alloc(sizeof *r->profile)))
        return fail_memory(r);
    *r->profile = profile;
    rules->profiles[rules->n_profiles++] = r->profile;
    return true;
}

static void read_line(struct reader *r)
{
    skip_blanks(r);
    if (!*r->at)
        return;
    if (take_word(r, "profile"))
        r->is_skipping = !read_profile(r);
    else if (take_word(r, "acquire"))
        read_action(r, false);
    else if (take_word(r, "release"))
        read_action(r, true);
    else
        fail(r, "%s: unknown word; expected profile, acquire or release", rest(r));
}

/* ---- files ---- */

/* One line without its comment and line end. */
static void split_line(struct reader *r, const char *line, size_t size)
{
    char buffer[RULES_LINE_MAX + 1];

    r->at = "";
    if (memchr(line, '\0', size)) {
        fail(r, "a zero byte; expected text");
        return;
    }
    const char *comment = memchr(line, '#', size);
    if (comment)
        size = (size_t)(comment - line);
    while (size && strchr(" \t\r", line[size - 1]))
        size--;
    if (size > RULES_LINE_MAX) {
        fail(r, "line too long; expected up to %d characters", RULES_LINE_MAX);
        return;
    }
    memcpy(buffer, line, size);
    buffer[size] = '\0';
    r->at = buffer;
    read_line(r);
    r->at = "";
}

static void check_profiles(struct reader *r, size_t first)
{
    for (size_t i = first; i < r->rules->n_profiles; i++) {
        const struct rules_profile *profile = r->rules->profiles[i];
        r->line = profile->line;
        if (!profile->n_acquires)
            fail(r, "profile %s has no valid acquire; expected acquire FUNCTION key=...",
                 profile->name);
    }
}

void rules_parse(struct rules *rules, const char *file, const char *text, size_t size)
{
    struct reader reader = {.rules = rules, .file = file};
    const size_t n_before = rules->n_profiles;

    for (size_t at = 0; at < size;) {
        const char *end = memchr(text + at, '\n', size - at);
        const size_t n = end ? (size_t)(end - text) - at : size - at;
        reader.line++;
        split_line(&reader, text + at, n);
        at += n + 1;
    }
    check_profiles(&reader, n_before);
}

static void complain_file(struct rules *rules, const char *path, const char *why)
{
    char buffer[PATH_MAX + 128];
    struct text text;

    text_init(&text, buffer, sizeof buffer);
    text_addf(&text, "CPROF_RULES=%s: %s; its rules are left out", path, why);
    rules->n_errors++;
    rules->complain(rules->arg, buffer);
}

static void read_file(struct rules *rules, const char *path)
{
    enum { FILE_BYTES = RULES_FILE_BYTES_MAX + 1 };
    const char *name = copy(path);
    char *data = arena_map_job(FILE_BYTES);
    const ssize_t n =
        name && data ? file_read_regular(path, data, FILE_BYTES) : -(ssize_t)ENOMEM;

    if (n < 0)
        complain_file(rules, path, file_error_text((int)n));
    else if (n == RULES_FILE_BYTES_MAX)
        complain_file(rules, path, "256 KiB or larger");
    else
        rules_parse(rules, name, data, (size_t)n);
    if (data)
        arena_unmap(data, FILE_BYTES);
}

void rules_read(struct rules *rules, const char *paths)
{
    char path[PATH_MAX];
    struct text text;

    while (*paths) {
        const size_t size = strcspn(paths, ":");
        text_init(&text, path, sizeof path);
        text_add_bytes(&text, paths, size);
        if (text.cut)
            complain_file(rules, path, text_errno(ENAMETOOLONG));
        else if (size)
            read_file(rules, path);
        paths += size;
        paths += *paths == ':';
    }
}

bool rules_is_true(const struct rules_condition *condition, int64_t value)
{
    const int64_t number = condition->number;

    switch ((enum rules_compare)condition->compare) {
    case RULES_EQ: return value == number;
    case RULES_NE: return value != number;
    case RULES_LT: return value < number;
    case RULES_LE: return value <= number;
    case RULES_GT: return value > number;
    case RULES_GE: return value >= number;
    }
    return false;
}
