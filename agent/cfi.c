/* cfi - see cfi.h. The formats: Linux Standard Base Core 5.0, 10.6; DWARF 4, 6.4 and 2.5. */
#include "agent/cfi.h"

#include <stdbool.h>
#include <stddef.h>

#include "base/compiler.h"

/* DWARF's numbers: System V ABI for x86-64, figure 3.36; DWARF for the Arm 64-bit Architecture, 4.1.  REG_PC is no
 * register of a column on aarch64: what CIEs name there as the return address is x30. */
#if defined(__aarch64__)
enum { REG_BX = 30, REG_BP = 29, REG_SP = 31, REG_PC = 32, REG_RA = REG_BX };
#else
enum { REG_BX = 3, REG_BP = 6, REG_SP = 7, REG_PC = 16, REG_RA = REG_PC };
#endif

/* ---- reading: past the limit there are zeros, and the reader is bad for good ---- */

struct reader {
    const uint8_t *at, *limit;
    bool is_bad;
};

static uint64_t fail(struct reader *r)
{
    r->is_bad = true;
    r->at = r->limit;
    return 0;
}

static size_t left(const struct reader *r)
{
    return (size_t)(r->limit - r->at);
}

static uint64_t read_bytes(struct reader *r, unsigned size)
{
    uint64_t value = 0;

    if (left(r) < size)
        return fail(r);
    for (unsigned i = 0; i < size; i++)
        value |= (uint64_t)r->at[i] << (8 * i);
    r->at += size;
    return value;
}

static uint8_t read_u8(struct reader *r)
{
    return r->at < r->limit ? *r->at++ : (uint8_t)fail(r);
}

static uint32_t read_u32(struct reader *r)
{
    uint32_t value;

    if (left(r) < sizeof value)
        return (uint32_t)fail(r);
    __builtin_memcpy(&value, r->at, sizeof value);
    r->at += sizeof value;
    return value;
}

static int64_t sign_extend(uint64_t value, unsigned n_bits)
{
    return n_bits < 64 ? (int64_t)(value << (64 - n_bits)) >> (64 - n_bits) : (int64_t)value;
}

static uint64_t read_leb(struct reader *r, bool is_signed)
{
    uint64_t value = 0;

    for (unsigned shift = 0; shift < 64; shift += 7) {
        const uint8_t byte = read_u8(r);
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80))
            return is_signed ? (uint64_t)sign_extend(value, shift + 7) : value;
    }
    return fail(r);
}

static uint64_t read_uleb(struct reader *r)
{
    return read_leb(r, false);
}

static int64_t read_sleb(struct reader *r)
{
    return (int64_t)read_leb(r, true);
}

/* Takes the next `size` bytes as a reader of their own. */
static struct reader read_block(struct reader *r, uint64_t size)
{
    struct reader block = {r->at, r->at, false};

    if (size > left(r))
        fail(r);
    else
        block.limit = r->at += size;
    return block;
}

/* ---- encoded pointers ---- */

enum {
    PE_OMIT = 0xff,
    PE_INDIRECT = 0x80,
    PE_PCREL = 0x10,
    PE_DATAREL = 0x30,
    PE_DATAREL_SDATA4 = 0x3b,
};

static uint64_t read_format(struct reader *r, uint8_t format)
{
    switch (format) {
    case 0x1: return read_uleb(r);
    case 0x9: return (uint64_t)read_sleb(r);
    case 0x2: return read_bytes(r, 2);
    case 0xa: return (uint64_t)sign_extend(read_bytes(r, 2), 16);
    case 0x3: return read_u32(r);
    case 0xb: return (uint64_t)(int32_t)read_u32(r);
    case 0x0:
    case 0x4:
    case 0xc: return read_bytes(r, 8);
    default: return fail(r);
    }
}

static uintptr_t read_pointer(struct reader *r, uint8_t encoding, const uint8_t *data_base)
{
    const uintptr_t position = (uintptr_t)r->at;
    const uintptr_t value = (uintptr_t)read_format(r, encoding & 0x0f);

    switch (encoding & 0xf0) {
    case 0: return value;
    case PE_PCREL: return position + value;
    case PE_DATAREL: return (uintptr_t)data_base + value;
    default: return fail(r);
    }
}

/* ---- expressions: every value is a number, register + number, or *(register + number) + number ---- */

struct term {
    uint8_t reg; /* NO_REG: a plain number */
    bool is_deref;
    int32_t inner;
    int64_t number;
};

enum { NO_REG = 0xff, EXPRESSION_DEPTH = 6 };

struct machine {
    struct reader code;
    uintptr_t pc;
    unsigned depth;
    struct term stack[EXPRESSION_DEPTH];
};

static void push(struct machine *m, struct term term)
{
    if (m->depth == EXPRESSION_DEPTH)
        fail(&m->code);
    else
        m->stack[m->depth++] = term;
}

static struct term pop(struct machine *m)
{
    if (m->depth)
        return m->stack[--m->depth];
    fail(&m->code);
    return (struct term){.reg = NO_REG};
}

static void push_number(struct machine *m, uint64_t number)
{
    push(m, (struct term){.reg = NO_REG, .number = (int64_t)number});
}

static void push_register(struct machine *m, uint64_t reg)
{
    const int64_t offset = read_sleb(&m->code);

    if (reg == REG_PC)
        push_number(m, m->pc + (uint64_t)offset);
    else if (reg < REG_PC)
        push(m, (struct term){.reg = (uint8_t)reg, .number = offset});
    else
        fail(&m->code);
}

static void deref(struct machine *m)
{
    const struct term t = pop(m);

    if (t.reg == NO_REG || t.is_deref || t.number != (int32_t)t.number)
        fail(&m->code);
    else
        push(m, (struct term){.reg = t.reg, .is_deref = true, .inner = (int32_t)t.number});
}

static uint64_t calculate(struct machine *m, uint8_t op, uint64_t a, uint64_t b)
{
    switch (op) {
    case 0x1a: return a & b;
    case 0x1e: return a * b;
    case 0x21: return a | b;
    case 0x24: return b < 64 ? a << b : 0;
    case 0x25: return b < 64 ? a >> b : 0;
    case 0x27: return a ^ b;
    case 0x29: return a == b;
    case 0x2a: return (int64_t)a >= (int64_t)b;
    case 0x2b: return (int64_t)a > (int64_t)b;
    case 0x2c: return (int64_t)a <= (int64_t)b;
    case 0x2d: return (int64_t)a < (int64_t)b;
    case 0x2e: return a != b;
    default: return fail(&m->code);
    }
}

static void binary(struct machine *m, uint8_t op)
{
    struct term b = pop(m);
    struct term a = pop(m);

    if (op == 0x22 && a.reg == NO_REG) { /* number + register is register + number */
        const struct term swap = a;
        a = b;
        b = swap;
    }
    if (b.reg != NO_REG || (a.reg != NO_REG && op != 0x22 && op != 0x1c)) {
        fail(&m->code);
        return;
    }
    if (op == 0x22)
        a.number = (int64_t)((uint64_t)a.number + (uint64_t)b.number);
    else if (op == 0x1c)
        a.number = (int64_t)((uint64_t)a.number - (uint64_t)b.number);
    else
        a.number = (int64_t)calculate(m, op, (uint64_t)a.number, (uint64_t)b.number);
    push(m, a);
}

static void plus_constant(struct machine *m)
{
    struct term t = pop(m);

    t.number = (int64_t)((uint64_t)t.number + read_uleb(&m->code));
    push(m, t);
}

static void operate(struct machine *m, uint8_t op)
{
    static const uint8_t formats[] = {0, 0, 2, 10, 3, 11, 4, 12, 1, 9}; /* of DW_OP_const... */

    if (op >= 0x30 && op <= 0x4f)
        push_number(m, op - 0x30u);
    else if (op >= 0x70 && op <= 0x8f)
        push_register(m, op - 0x70u);
    else if (op == 0x92)
        push_register(m, read_uleb(&m->code));
    else if (op == 0x08)
        push_number(m, read_u8(&m->code));
    else if (op == 0x09)
        push_number(m, (uint64_t)(int8_t)read_u8(&m->code));
    else if (op >= 0x0a && op <= 0x11)
        push_number(m, read_format(&m->code, formats[op - 0x08]));
    else if (op == 0x06)
        deref(m);
    else if (op == 0x23)
        plus_constant(m);
    else if (op != 0x96)
        binary(m, op);
}

/* False when the value is no such term. */
static bool evaluate(struct reader code, uintptr_t pc, struct term *ret_value)
{
    struct machine m = {.code = code, .pc = pc};

    while (m.code.at < m.code.limit)
        operate(&m, read_u8(&m.code));
    *ret_value = pop(&m);
    return !m.code.is_bad;
}

/* ---- one row of the table: the CFA and the columns that matter ---- */

enum { COLUMN_SAME, COLUMN_OFFSET, COLUMN_UNDEFINED, COLUMN_EXPRESSION, COLUMN_OTHER };

/* Small, because remembered rows lie on the stack of whoever is profiled. */
struct column {
    uint8_t kind;
    uint8_t reg;    /* of the CFA */
    uint16_t size;  /* of the expression */
    int32_t offset; /* from the CFA; or of the expression, from the start of the image */
};

struct row {
    struct column cfa;        /* COLUMN_OFFSET: from a register; COLUMN_EXPRESSION: the value */
    struct column bp, bx, ra; /* COLUMN_OFFSET: from the CFA; COLUMN_EXPRESSION: the address */
                              /* aarch64: `bx` is the return address's, `ra` nobody's */
};

static struct reader expression_of(const struct cfi_image *image, const struct column *column)
{
    const uint8_t *code = image->low + column->offset;

    return (struct reader){code, code + column->size, false};
}

static struct column *column_of(struct row *row, uint64_t reg)
{
    switch (reg) {
    case REG_BX: return &row->bx;
    case REG_BP: return &row->bp;
    case REG_PC: return &row->ra;
    default: return NULL;
    }
}

static void set_column(struct row *row, uint64_t reg, struct column value)
{
    struct column *column = column_of(row, reg);

    if (column)
        *column = value;
}

/* ---- running a program ---- */

struct entry { /* what CIE and FDE say */
    uint64_t code_align;
    int64_t data_align;
    uint8_t encoding; /* of the addresses in the FDE */
    bool has_augmentation, is_signal_frame, has_handler;
    struct reader cie_program, fde_program;
    uintptr_t start, size;
};

enum { REMEMBERED_MAX = 5 };

struct run {
    struct reader code;
    const struct entry *entry;
    const struct cfi_image *image;
    uintptr_t location; /* where the rows built so far begin to hold */
    struct row row;
    struct row initial; /* as the CIE leaves it */
    unsigned n_remembered;
    struct row remembered[REMEMBERED_MAX];
};

static struct column offset_column(struct run *run, int64_t offset)
{
    if (offset != (int32_t)offset)
        fail(&run->code);
    return (struct column){.kind = COLUMN_OFFSET, .offset = (int32_t)offset};
}

static int64_t scaled(const struct run *run, uint64_t factor)
{
    return (int64_t)((uint64_t)run->entry->data_align * factor);
}

static struct column expression_column(struct run *run)
{
    const struct reader block = read_block(&run->code, read_uleb(&run->code));

    if (left(&block) > UINT16_MAX || block.at - run->image->low > INT32_MAX)
        fail(&run->code);
    return (struct column){.kind = COLUMN_EXPRESSION,
                           .size = (uint16_t)left(&block),
                           .offset = (int32_t)(block.at - run->image->low)};
}

static void advance(struct run *run, uint64_t factor)
{
    run->location += run->entry->code_align * factor;
}

static void restore_column(struct run *run, uint64_t reg)
{
    struct column *initial = column_of(&run->initial, reg);

    if (initial)
        set_column(&run->row, reg, *initial);
}

static void remember(struct run *run)
{
    if (run->n_remembered == REMEMBERED_MAX)
        fail(&run->code);
    else
        run->remembered[run->n_remembered++] = run->row;
}

static void recall(struct run *run)
{
    if (!run->n_remembered)
        fail(&run->code);
    else
        run->row = run->remembered[--run->n_remembered];
}

static void set_cfa(struct run *run, uint64_t reg, int64_t offset)
{
    run->row.cfa = offset_column(run, offset);
    run->row.cfa.reg = reg < REG_PC ? (uint8_t)reg : NO_REG;
}

/* The register stays, so there has to be one. */
static void set_cfa_offset(struct run *run, int64_t offset)
{
    if (run->row.cfa.kind != COLUMN_OFFSET)
        fail(&run->code);
    set_cfa(run, run->row.cfa.reg, offset);
}

static void set_cfa_register(struct run *run, uint64_t reg)
{
    if (run->row.cfa.kind != COLUMN_OFFSET)
        fail(&run->code);
    run->row.cfa.reg = reg < REG_PC ? (uint8_t)reg : NO_REG;
}

/* Opcodes that say where a register was saved: its number comes first. */
static void execute_column(struct run *run, uint8_t op)
{
    struct reader *code = &run->code;
    const uint64_t reg = read_uleb(code);

    switch (op) {
    case 0x05: /* offset_extended */
        set_column(&run->row, reg, offset_column(run, scaled(run, read_uleb(code))));
        break;
    case 0x06: /* restore_extended */ restore_column(run, reg); break;
    case 0x07: /* undefined */
        set_column(&run->row, reg, (struct column){.kind = COLUMN_UNDEFINED});
        break;
    case 0x08: /* same_value */
        set_column(&run->row, reg, (struct column){.kind = COLUMN_SAME});
        break;
    case 0x09:           /* register */
    case 0x14:           /* val_offset */
    case 0x15:           /* val_offset_sf */
        read_uleb(code); /* a signed one is as long */
        set_column(&run->row, reg, (struct column){.kind = COLUMN_OTHER});
        break;
    case 0x10: /* expression */ set_column(&run->row, reg, expression_column(run)); break;
    case 0x16: /* val_expression */
        expression_column(run);
        set_column(&run->row, reg, (struct column){.kind = COLUMN_OTHER});
        break;
    case 0x11: /* offset_extended_sf */
        set_column(&run->row, reg, offset_column(run, scaled(run, (uint64_t)read_sleb(code))));
        break;
    case 0x2f: /* GNU_negative_offset_extended */
        set_column(&run->row, reg, offset_column(run, scaled(run, -read_uleb(code))));
        break;
    default: fail(code);
    }
}

static void execute_cfa(struct run *run, uint8_t op)
{
    struct reader *code = &run->code;
    uint64_t reg;

    switch (op) {
    case 0x0c: /* def_cfa */
        reg = read_uleb(code);
        set_cfa(run, reg, (int64_t)read_uleb(code));
        break;
    case 0x12: /* def_cfa_sf */
        reg = read_uleb(code);
        set_cfa(run, reg, scaled(run, (uint64_t)read_sleb(code)));
        break;
    case 0x0d: /* def_cfa_register */ set_cfa_register(run, read_uleb(code)); break;
    case 0x0e: /* def_cfa_offset */ set_cfa_offset(run, (int64_t)read_uleb(code)); break;
    case 0x13: /* def_cfa_offset_sf */
        set_cfa_offset(run, scaled(run, (uint64_t)read_sleb(code)));
        break;
    default: /* 0x0f: def_cfa_expression */ run->row.cfa = expression_column(run);
    }
}

static void execute_extended(struct run *run, uint8_t op)
{
    struct reader *code = &run->code;

    switch (op) {
    case 0x00: /* nop */ break;
    case 0x01: /* set_loc */
        run->location = read_pointer(code, run->entry->encoding, run->image->header);
        break;
    case 0x02: /* advance_loc1, 2, 4 */ advance(run, read_u8(code)); break;
    case 0x03: advance(run, read_bytes(code, 2)); break;
    case 0x04: advance(run, read_u32(code)); break;
    case 0x0a: /* remember_state */ remember(run); break;
    case 0x0b: /* restore_state */ recall(run); break;
    case 0x0c:
    case 0x0d:
    case 0x0e:
    case 0x0f:
    case 0x12:
    case 0x13: execute_cfa(run, op); break;
    case 0x2e: /* GNU_args_size */ read_uleb(code); break;
#if defined(__aarch64__)
    case 0x2d: /* negate_ra_state: signed or not, whoever reads a return address strips it */
        break;
#endif
    default: execute_column(run, op);
    }
}

/* Runs `code` as far as it is about `pc`. False: corrupt, or an opcode that is not known. */
static bool execute(struct run *run, struct reader code, uintptr_t pc)
{
    run->code = code;
    while (run->code.at < run->code.limit && run->location <= pc) {
        const uint8_t op = read_u8(&run->code);
        switch (op >> 6) {
        case 1: advance(run, op & 0x3f); break;
        case 2: {
            const uint64_t factor = read_uleb(&run->code);
            set_column(&run->row, op & 0x3f, offset_column(run, scaled(run, factor)));
            break;
        }
        case 3: restore_column(run, op & 0x3f); break;
        default: execute_extended(run, op);
        }
    }
    return !run->code.is_bad;
}

/* ---- from a row to a rule ---- */

static const struct cfi_rule unknown = {.cfa = CFI_UNKNOWN};

static bool cfa_of(const struct cfi_image *image, const struct column *cfa, uintptr_t pc,
                   struct term *ret_cfa)
{
    if (cfa->kind == COLUMN_EXPRESSION)
        return evaluate(expression_of(image, cfa), pc, ret_cfa) && ret_cfa->reg != NO_REG;
    *ret_cfa = (struct term){.reg = cfa->reg, .number = cfa->offset};
    return cfa->kind == COLUMN_OFFSET && cfa->reg != NO_REG;
}

static bool fits_int16(int64_t number)
{
    return number == (int16_t)number;
}

static struct cfi_rule rule_of_cfa(const struct term *cfa)
{
    const bool has_parts =
        cfa->is_deref || (cfa->reg != REG_SP && cfa->reg != REG_BP && cfa->reg != REG_BX);
    const int64_t inner = cfa->is_deref ? cfa->inner : cfa->reg;
    struct cfi_rule rule = unknown;

    if (has_parts ? !fits_int16(inner) || !fits_int16(cfa->number)
                  : cfa->number != (int32_t)cfa->number)
        return unknown;
    rule.cfa_offset = has_parts ? (int32_t)((uint32_t)cfa->number << 16 | (uint16_t)inner)
                                : (int32_t)cfa->number;
    if (!has_parts)
        rule.cfa = cfa->reg == REG_SP ? CFI_SP : cfa->reg == REG_BP ? CFI_BP : CFI_BX;
    else if (!cfa->is_deref)
        rule.cfa = CFI_REGISTER;
    else if (cfa->reg == REG_SP || cfa->reg == REG_BP)
        rule.cfa = cfa->reg == REG_SP ? CFI_SP_DEREF : CFI_BP_DEREF;
    return rule;
}

/* Where a register was saved, as an offset from the CFA or from rbp. */
struct place {
    bool is_known, is_saved, is_at_bp;
    int64_t offset;
};

static struct place place_of(const struct cfi_image *image, const struct column *column,
                             const struct term *cfa, uintptr_t pc)
{
    struct term at;

    switch (column->kind) {
    case COLUMN_SAME:
    case COLUMN_UNDEFINED: /* nobody will miss it */ return (struct place){.is_known = true};
    case COLUMN_OFFSET:
        return (struct place){.is_known = true, .is_saved = true, .offset = column->offset};
    case COLUMN_EXPRESSION:
        if (!evaluate(expression_of(image, column), pc, &at) || at.is_deref)
            return (struct place){0};
        if (at.reg == cfa->reg && !cfa->is_deref)
            return (struct place){.is_known = true,
                                  .is_saved = true,
                                  .offset =
                                      (int64_t)((uint64_t)at.number - (uint64_t)cfa->number)};
        if (at.reg == REG_BP)
            return (struct place){
                .is_known = true, .is_saved = true, .is_at_bp = true, .offset = at.number};
        return (struct place){0};
    default: return (struct place){0};
    }
}

static bool fits_slot(const struct place *place)
{
    return place->is_known && place->offset % 8 == 0 && place->offset / 8 >= INT8_MIN &&
           place->offset / 8 <= INT8_MAX;
}

#if defined(__aarch64__)

/* As an offset from the register that the CFA is counted from: compilers save x29 and x30 below the variables. */
static struct place from_base(struct place place, const struct cfi_rule *rule)
{
    place.offset += rule->cfa_offset;
    place.is_at_bp = true;
    return place;
}

static bool fits_both(const struct place *bp, const struct place *link)
{
    return (!bp->is_saved || fits_slot(bp)) && (!link->is_saved || fits_slot(link));
}

/* False: x29 or x30 is where a rule cannot say. */
static bool add_saved(struct cfi_rule *rule, struct place bp, struct place link)
{
    const bool has_base = rule->cfa == CFI_SP || rule->cfa == CFI_BP;

    if (!bp.is_known || !link.is_known || bp.is_at_bp || link.is_at_bp)
        return false;
    if (!fits_both(&bp, &link)) {
        bp = from_base(bp, rule);
        link = from_base(link, rule);
        rule->flags |= CFI_SAVED_AT_BP;
        if (!has_base || !fits_both(&bp, &link))
            return false;
    }
    if (bp.is_saved) {
        rule->flags |= CFI_SAVED_BP;
        rule->bp_offset = (int8_t)(bp.offset / 8);
    }
    if (link.is_saved) {
        rule->flags |= CFI_SAVED_BX;
        rule->bx_offset = (int8_t)(link.offset / 8);
    }
    return true;
}

/* A signal frame is the kernel's: those vdsos that describe it at all say what x30 was, not where the program was. */
static struct cfi_rule rule_of_row(const struct cfi_image *image, const struct row *row,
                                   const struct entry *entry, uintptr_t pc)
{
    struct term cfa;

    if (entry->is_signal_frame)
        return (struct cfi_rule){.cfa = CFI_SIGNAL};
    if (row->bx.kind == COLUMN_UNDEFINED)
        return (struct cfi_rule){.cfa = CFI_END};
    if (!cfa_of(image, &row->cfa, pc, &cfa))
        return unknown;
    struct cfi_rule rule = rule_of_cfa(&cfa);
    return add_saved(&rule, place_of(image, &row->bp, &cfa, pc),
                     place_of(image, &row->bx, &cfa, pc))
               ? rule
               : unknown;
}

#else

/* rbx only counts where CFAs are counted from it (the loader's lazy binding), so that one
 * place that cannot be said is no reason to give up the frame. */
static bool add_saved(struct cfi_rule *rule, const struct place *bp, const struct place *bx)
{
    if (!fits_slot(bp))
        return false;
    if (bp->is_saved) {
        rule->flags |= CFI_SAVED_BP | (bp->is_at_bp ? CFI_SAVED_AT_BP : 0);
        rule->bp_offset = (int8_t)(bp->offset / 8);
    }
    if (bx->is_saved && fits_slot(bx) && (!bp->is_saved || bp->is_at_bp == bx->is_at_bp)) {
        rule->flags |= CFI_SAVED_BX | (bx->is_at_bp ? CFI_SAVED_AT_BP : 0);
        rule->bx_offset = (int8_t)(bx->offset / 8);
    }
    return true;
}

/* The kernel's frame: libc describes it as "rsp is in the ucontext". */
static bool is_ucontext(const struct entry *entry, const struct term *cfa)
{
    enum { UCONTEXT_RSP_BYTES = 160 };

    return entry->is_signal_frame && cfa->is_deref && cfa->reg == REG_SP &&
           cfa->inner == UCONTEXT_RSP_BYTES && cfa->number == 0;
}

static struct cfi_rule rule_of_row(const struct cfi_image *image, const struct row *row,
                                   const struct entry *entry, uintptr_t pc)
{
    struct term cfa;

    if (row->ra.kind == COLUMN_UNDEFINED)
        return (struct cfi_rule){.cfa = CFI_END};
    if (!cfa_of(image, &row->cfa, pc, &cfa))
        return unknown;
    if (is_ucontext(entry, &cfa))
        return (struct cfi_rule){.cfa = CFI_SIGNAL};
    struct cfi_rule rule = rule_of_cfa(&cfa);
    const struct place ra = place_of(image, &row->ra, &cfa, pc);
    const struct place bp = place_of(image, &row->bp, &cfa, pc);
    const struct place bx = place_of(image, &row->bx, &cfa, pc);
    if (!ra.is_saved || ra.is_at_bp || ra.offset != -8 || !add_saved(&rule, &bp, &bx))
        return unknown;
    if (entry->is_signal_frame)
        rule.flags |= CFI_INTERRUPTED;
    return rule;
}

#endif

/* ---- CIE and FDE ---- */

/* The entry at `at`, without its length; `ret_id` is the word that tells a CIE from an FDE. */
static struct reader read_entry(const struct cfi_image *image, const uint8_t *at,
                                uint32_t *ret_id)
{
    struct reader all = {at, image->limit, false};
    struct reader bad = {at, at, true};

    if (at < image->low || at >= image->limit)
        return bad;
    uint64_t size = read_u32(&all);
    if (size == UINT32_MAX)
        size = read_bytes(&all, 8);
    struct reader entry = read_block(&all, size);
    *ret_id = read_u32(&entry);
    entry.is_bad |= all.is_bad;
    return entry.is_bad ? bad : entry;
}

static void read_augmentation(struct reader *r, const char *letters, struct entry *entry,
                              const struct cfi_image *image)
{
    uint8_t encoding;

    for (const char *c = letters + 1; *c && !r->is_bad; c++) {
        switch (*c) {
        case 'R': entry->encoding = read_u8(r); break;
        case 'L': read_u8(r); break;
        case 'P':
            entry->has_handler = true;
            encoding = read_u8(r);
            if (encoding != PE_OMIT)
                read_pointer(r, encoding % PE_INDIRECT, image->header);
            break;
        case 'S': entry->is_signal_frame = true; break;
        case 'B': break;
        default: return; /* what follows cannot be read, but is skipped with the block */
        }
    }
}

static const char *read_letters(struct reader *r)
{
    const char *letters = (const char *)r->at;

    while (read_u8(r))
        ;
    return r->is_bad ? NULL : letters;
}

static bool read_cie(const struct cfi_image *image, const uint8_t *at, struct entry *ret_entry)
{
    uint32_t id = 1;
    struct reader r = read_entry(image, at, &id);
    const uint8_t version = read_u8(&r);
    const char *letters = read_letters(&r);

    if (id != 0 || !letters || (version != 1 && version != 3))
        return false;
    ret_entry->code_align = read_uleb(&r);
    ret_entry->data_align = read_sleb(&r);
    const uint64_t ra = version == 1 ? read_u8(&r) : read_uleb(&r);
    ret_entry->has_augmentation = *letters == 'z';
    if (ret_entry->has_augmentation) {
        struct reader augmentation = read_block(&r, read_uleb(&r));
        read_augmentation(&augmentation, letters, ret_entry, image);
        r.is_bad |= augmentation.is_bad;
    } else if (*letters) {
        return false;
    }
    ret_entry->cie_program = r;
    return !r.is_bad && ra == REG_RA;
}

/* False when there is no FDE at `at`. */
static bool read_fde(const struct cfi_image *image, const uint8_t *at, struct entry *ret_entry)
{
    uint32_t id = 0;
    struct reader r = read_entry(image, at, &id);
    const uint8_t *id_at = r.at - sizeof id;

    if (r.is_bad || id == 0 || id > (size_t)(id_at - image->low))
        return false;
    *ret_entry = (struct entry){0};
    if (!read_cie(image, id_at - id, ret_entry))
        return false;
    ret_entry->start = read_pointer(&r, ret_entry->encoding, image->header);
    ret_entry->size = (uintptr_t)read_format(&r, ret_entry->encoding & 0x0f);
    if (ret_entry->has_augmentation)
        read_block(&r, read_uleb(&r));
    ret_entry->fde_program = r;
    return !r.is_bad;
}

static NOINLINE struct cfi_rule rule_of_entry(const struct cfi_image *image,
                                              const struct entry *entry, uintptr_t pc)
{
    struct run run;

    run.entry = entry;
    run.image = image;
    run.location = 0;
    run.row = (struct row){0};
    run.initial = run.row;
    run.n_remembered = 0;
    if (!execute(&run, entry->cie_program, UINTPTR_MAX))
        return unknown;
    run.initial = run.row;
    run.location = entry->start;
    if (!execute(&run, entry->fde_program, pc))
        return unknown;
    return rule_of_row(image, &run.row, entry, pc);
}

/* ---- finding the FDE ---- */

struct header {
    const uint8_t *frames;
    const uint8_t *table; /* NULL: not one that can be searched */
    size_t n_entries;
};

enum { TABLE_ENTRY_BYTES = 8 }; /* start of the code, the FDE: int32 from the header on */

static bool read_header(const uint8_t *at, const uint8_t *limit, struct header *ret_header)
{
    struct reader r = {at, limit, false};
    const uint8_t version = read_u8(&r);
    const uint8_t frames_encoding = read_u8(&r);
    const uint8_t count_encoding = read_u8(&r);
    const uint8_t table_encoding = read_u8(&r);

    *ret_header = (struct header){0};
    if (version != 1 || frames_encoding == PE_OMIT)
        return false;
    ret_header->frames = (const uint8_t *)read_pointer(&r, frames_encoding, at);  // NOLINT
    if (count_encoding == PE_OMIT || table_encoding != PE_DATAREL_SDATA4)
        return !r.is_bad;
    const uint64_t n = read_pointer(&r, count_encoding, at);
    if (n <= left(&r) / TABLE_ENTRY_BYTES) {
        ret_header->table = r.at;
        ret_header->n_entries = (size_t)n;
    }
    return !r.is_bad;
}

const uint8_t *cfi_frames_of(const uint8_t *header, const uint8_t *limit)
{
    struct header parts;

    return read_header(header, limit, &parts) ? parts.frames : NULL;
}

static int32_t table_word(const uint8_t *table, size_t i)
{
    int32_t word;

    __builtin_memcpy(&word, table + i * sizeof word, sizeof word);
    return word;
}

/* The last FDE that starts at `pc` or before. */
static const uint8_t *search_table(const struct cfi_image *image, const struct header *header,
                                   uintptr_t pc)
{
    const int64_t want = (int64_t)(pc - (uintptr_t)image->header);
    size_t low = 0, high = header->n_entries;

    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (table_word(header->table, 2 * middle) <= want)
            low = middle + 1;
        else
            high = middle;
    }
    if (!low)
        return NULL;
    const int64_t fde = table_word(header->table, 2 * low - 1);
    return (const uint8_t *)((uintptr_t)image->header + (uintptr_t)fde);  // NOLINT
}

static bool covers(const struct entry *entry, uintptr_t pc)
{
    return pc - entry->start < entry->size;
}

static bool scan_frames(const struct cfi_image *image, const uint8_t *at, uintptr_t pc,
                        struct entry *ret_entry)
{
    enum { SCAN_MAX = 1 << 16 };
    uint32_t id;

    for (int i = 0; i < SCAN_MAX; i++) {
        struct reader r = read_entry(image, at, &id);
        if (r.is_bad)
            return false;
        if (id != 0 && read_fde(image, at, ret_entry) && covers(ret_entry, pc))
            return true;
        at = r.limit;
    }
    return false;
}

/* CFI_NONE: no FDE; CFI_UNKNOWN: it cannot be read; else *ret_entry is the one of `pc`. */
static enum cfi_cfa find_entry(const struct cfi_image *image, uintptr_t pc,
                               struct entry *ret_entry)
{
    struct header header;

    if (!read_header(image->header, image->header_limit, &header))
        return CFI_NONE;
    if (header.table) {
        const uint8_t *fde = search_table(image, &header, pc);
        if (!fde)
            return CFI_NONE;
        if (!read_fde(image, fde, ret_entry))
            return CFI_UNKNOWN;
        return covers(ret_entry, pc) ? CFI_SP : CFI_NONE;
    }
    return header.frames && scan_frames(image, header.frames, pc, ret_entry) ? CFI_SP
                                                                             : CFI_NONE;
}

struct cfi_rule cfi_find(const struct cfi_image *image, uintptr_t pc)
{
    struct entry entry;
    const enum cfi_cfa found = find_entry(image, pc, &entry);

    if (found == CFI_NONE)
        return (struct cfi_rule){.cfa = CFI_NONE};
    return found == CFI_UNKNOWN ? unknown : rule_of_entry(image, &entry, pc);
}

bool cfi_has_handler(const struct cfi_image *image, uintptr_t pc)
{
    struct entry entry;

    return find_entry(image, pc, &entry) == CFI_SP && entry.has_handler;
}
