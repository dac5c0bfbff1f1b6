package orlop.sim;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assertions.fail;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.function.LongFunction;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * Takes each line that protects an invariant out of the production core and demands that the
 * simulator notices. The lines stand in DESIGN.md, section "Lines that protect": whoever changes
 * one of them finds its row there.
 */
class MutationTest {
  private static final int SEEDS = 50;
  private static final Path DESIGN = Path.of("DESIGN.md");
  private static final String SECTION = "## Lines that protect";
  private static final Pattern ROW =
      Pattern.compile("\\| `(\\w+)` \\| `` (.+?) `` \\| `` (.*?) `` \\| (.+?) \\|");

  /**
   * One row of the table.
   *
   * @param type the class whose source holds the line
   * @param line as it stands there, exactly once
   * @param instead what takes its place
   */
  record Mutation(String type, String line, String instead) {
    @Override
    public String toString() {
      return type + ": " + line + " -> " + instead;
    }

    Mutant compiled() throws IOException {
      return Mutant.of("orlop.placement." + type, line, instead);
    }
  }

  static List<Mutation> mutations() throws IOException {
    String text = Files.readString(DESIGN);
    int from = text.indexOf(SECTION);
    assertTrue(from >= 0, () -> DESIGN + " has no section '" + SECTION + "'");
    int to = text.indexOf("\n## ", from + 1);
    Matcher rows = ROW.matcher(text.substring(from, to < 0 ? text.length() : to));
    List<Mutation> all = new ArrayList<>();
    while (rows.find()) {
      all.add(new Mutation(rows.group(1), rows.group(2), rows.group(3)));
    }
    return all;
  }

  static Stream<Mutation> few() throws IOException {
    return mutations().stream().limit(3);
  }

  static Stream<Mutation> others() throws IOException {
    return mutations().stream().skip(3);
  }

  private static void isNoticed(Mutation mutation) throws IOException {
    LongFunction<String> run = mutation.compiled().simulation();
    for (long seed = 1; seed <= SEEDS; seed++) {
      if (!run.apply(seed).isEmpty()) {
        return;
      }
    }
    fail("the simulator does not notice within %d seeds: %s".formatted(SEEDS, mutation));
  }

  @ParameterizedTest
  @MethodSource("few")
  void theSimulatorNoticesWhenALineIsMissing(Mutation mutation) throws IOException {
    isNoticed(mutation);
  }

  @Tag("slow")
  @ParameterizedTest
  @MethodSource("others")
  void theSimulatorNoticesWhenAnyOtherLineIsMissing(Mutation mutation) throws IOException {
    isNoticed(mutation);
  }

  @Test
  void theDesignNamesAtLeastEightLinesThatProtect() throws IOException {
    List<Mutation> all = mutations();
    assertTrue(all.size() >= 8, () -> all.size() + " rows: " + all);
    for (Mutation mutation : all) {
      Mutant.source("orlop.placement." + mutation.type(), mutation.line());
    }
  }

  @Test
  void whatIsNotChangedIsNotNoticed() throws IOException {
    Mutation first = mutations().getFirst();
    LongFunction<String> run =
        new Mutation(first.type(), first.line(), first.line()).compiled().simulation();
    for (long seed = 1; seed <= 3; seed++) {
      assertEquals("", run.apply(seed));
    }
  }

  @Test
  void aFailureIsReducedToASmallerOneOfTheSameKind() throws IOException {
    Mutation pins = mutations().stream().filter(m -> m.line().contains("pinned")).findAny().get();
    LongFunction<String> run = pins.compiled().simulation();
    long seed = 1;
    while (run.apply(seed).isEmpty()) {
      seed++;
    }
    String message = run.apply(-seed);
    Matcher commands =
        Pattern.compile("(reproduce|first seen by): \\./orlop sim --seed (\\d+) --pods (\\d+) .*")
            .matcher(message);
    assertTrue(commands.find(), message);
    int smallest = Integer.parseInt(commands.group(3));
    String smallestSeed = commands.group(2);
    assertTrue(commands.find(), message);
    assertEquals(commands.group(2), smallestSeed, message);
    assertTrue(smallest < Integer.parseInt(commands.group(3)), message);
    assertNotEquals("", message);
  }
}
