package orlop.registry;

import org.jspecify.annotations.Nullable;
import orlop.placement.Alias;

/** The argument check that every registry makes before it replaces an alias. */
final class Aliases {
  private Aliases() {}

  static void check(String name, @Nullable Alias expected, @Nullable Alias next) {
    check(name, expected);
    check(name, next);
  }

  private static void check(String name, @Nullable Alias alias) {
    if (alias != null && !alias.name().equals(name)) {
      throw new IllegalArgumentException(
          "alias '" + alias.name() + "' cannot stand under the name '" + name + "'");
    }
  }
}
