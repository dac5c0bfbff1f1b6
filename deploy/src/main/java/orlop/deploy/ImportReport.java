package orlop.deploy;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.PrintWriter;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/**
 * What became of the records of an import. Keeps the first {@value #MAX_PROBLEMS} problems and
 * counts all. Thread-safe.
 */
final class ImportReport {
  static final int MAX_PROBLEMS = 10_000;

  /** What an import takes over. */
  enum Kind {
    MODEL,
    ALIAS
  }

  /** What became of one record. The later ones are problems. */
  enum Fate {
    REGISTERED,
    ALREADY_THERE,
    /** Something else stands here under that name. */
    DIFFERING,
    /** The source's value is broken. */
    UNREADABLE,
    /** An alias for a model that the source does not have either. */
    TARGET_MISSING,
    /** The mesh said no. */
    REFUSED;

    boolean isProblem() {
      return compareTo(ALREADY_THERE) > 0;
    }

    String label() {
      return name().toLowerCase(Locale.ROOT).replace('_', ' ');
    }
  }

  private record Problem(Kind kind, Fate fate, String key, String reason) {}

  private final Map<Kind, Map<Fate, Long>> counts = new EnumMap<>(Kind.class);
  private final List<Problem> problems = new ArrayList<>();
  private long problemCount;
  private long total;

  synchronized void add(Kind kind, Fate fate, String key, String reason) {
    total++;
    counts.computeIfAbsent(kind, k -> new EnumMap<>(Fate.class)).merge(fate, 1L, Long::sum);
    if (fate.isProblem()) {
      problemCount++;
      if (problems.size() < MAX_PROBLEMS) {
        problems.add(new Problem(kind, fate, key, ErrorLine.flat(reason)));
      }
    }
  }

  synchronized long total() {
    return total;
  }

  synchronized long count(Kind kind, Fate fate) {
    return counts.getOrDefault(kind, Map.of()).getOrDefault(fate, 0L);
  }

  synchronized boolean complete() {
    return problemCount == 0;
  }

  synchronized void print(PrintWriter out, boolean dryRun) {
    for (Problem p : problems) {
      out.println("%s: %s: %s".formatted(p.fate.label(), p.key, p.reason));
    }
    if (problemCount > problems.size()) {
      out.println("… and %d more".formatted(problemCount - problems.size()));
    }
    for (Kind kind : Kind.values()) {
      StringBuilder line = new StringBuilder(kind == Kind.MODEL ? "models:" : "aliases:");
      String comma = " ";
      for (Fate fate : Fate.values()) {
        if (count(kind, fate) > 0 || fate == Fate.REGISTERED) {
          String label = dryRun && fate == Fate.REGISTERED ? "to register" : fate.label();
          line.append(comma).append(count(kind, fate)).append(' ').append(label);
          comma = ", ";
        }
      }
      out.println(line);
    }
    if (dryRun) {
      out.println("dry run: nothing was changed");
    }
  }

  synchronized String json(boolean dryRun, long sourceRevision, double seconds) {
    ObjectNode json = new ObjectMapper().createObjectNode();
    json.put("dryRun", dryRun);
    json.put("sourceRevision", sourceRevision);
    json.put("seconds", Math.round(seconds * 1_000) / 1_000.0);
    for (Kind kind : Kind.values()) {
      ObjectNode of = json.putObject(kind == Kind.MODEL ? "models" : "aliases");
      for (Fate fate : Fate.values()) {
        of.put(camel(fate), count(kind, fate));
      }
    }
    ArrayNode list = json.putArray("problems");
    for (Problem p : problems) {
      list.addObject()
          .put("kind", p.kind.name().toLowerCase(Locale.ROOT))
          .put("fate", camel(p.fate))
          .put("key", p.key)
          .put("reason", p.reason);
    }
    json.put("problemsLeftOut", problemCount - problems.size());
    return json.toString();
  }

  private static String camel(Fate fate) {
    return switch (fate) {
      case REGISTERED -> "registered";
      case ALREADY_THERE -> "alreadyThere";
      case DIFFERING -> "differing";
      case UNREADABLE -> "unreadable";
      case TARGET_MISSING -> "targetMissing";
      case REFUSED -> "refused";
    };
  }
}
