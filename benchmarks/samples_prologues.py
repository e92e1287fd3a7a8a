"""What `benchmarks.samples_check` puts before samples of LaTeX and C for the compilers."""

THEOREMS = "theorem proposition lemma definition example exercise situation remark remarks slogan"
OPERATORS = """
Spec Hom Ext Tor Mor Ob Sh Sch Sets Mod QCoh Coh Ker Im Coker Aut Proj colim Gal Pic Frac Ann depth
length codim trdeg rank Tr Norm id pr sHom SheafHom Spf Cov Ab Rings Tot Sym
"""
LATEX = "\n".join(
    [
        r"\documentclass{amsart}",
        r"\usepackage{amssymb}\usepackage[all]{xy}\usepackage{hyperref}",
        *(rf"\newtheorem{{{name}}}{{{name.capitalize()}}}" for name in THEOREMS.split()),
        *(
            rf"\providecommand{{\{name}}}{{\mathop{{\mathrm{{{name}}}}}\nolimits}}"
            for name in OPERATORS.split()
        ),
        r"\begin{document}",
    ]
)

C_TYPES = """
u8 u16 u32 u64 s8 s16 s32 s64 __u32 __u64 __s32 bool size_t ssize_t loff_t off_t pid_t uid_t gid_t
gfp_t ktime_t atomic_t atomic64_t spinlock_t raw_spinlock_t cpumask_t time64_t va_list umode_t
cycles_t sector_t dma_addr_t phys_addr_t uintptr_t intptr_t wait_queue_head_t kuid_t kgid_t rwlock_t
atomic_long_t clockid_t cputime_t irqreturn_t cpumask_var_t
"""
C_EMPTY = """
__init __exit __initdata __user __rcu __percpu __read_mostly __always_inline __sched noinline
notrace __must_check asmlinkage __weak __cold __maybe_unused __ref __net_init __kprobes __iomem
__force noinline_for_stack __visible __used ____cacheline_aligned_in_smp
"""
"""Macros that stand for nothing,"""
C_EMPTY_CALLS = """
__acquires __releases __must_hold __printf __aligned __section __attribute__ __setup early_param
module_param core_initcall late_initcall fs_initcall device_initcall subsys_initcall early_initcall
postcore_initcall pure_initcall module_init module_exit
"""
"""and those with arguments that do."""


def c_prologue(types: list[str], loops: list[str], calls: list[str]) -> str:
    """Return the lines before a sample of C.

    Args:
        types: names of types beside `C_TYPES`; all of them are int.
        loops: macros that are loops.
        calls: macros at file level: a system call begins a function, all others are empty.
    """
    lines = [f"typedef int {name};" for name in [*C_TYPES.split(), *types]]
    lines += [f"#define {name}" for name in C_EMPTY.split()]
    lines += [f"#define {name}(...)" for name in C_EMPTY_CALLS.split()]
    lines += [f"#define {name}(...) for (;;)" for name in loops]
    for name in calls:
        if "SYSCALL_DEFINE" in name:
            lines.append(f"#define {name}(name, ...) long name(void)")
        else:
            lines.append(f"#define {name}(...)")
    return "\n".join(lines)
