package orlop.placement;

import java.util.HashSet;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * Labels that a pod must or should carry for a model of some type, beside those of the model
 * itself. Part of the view and not of the models, so that a change of the rules reaches models that
 * were registered before. Immutable.
 *
 * @param byType by {@link Model#type}
 * @param others for types without rules of their own; null: none
 */
public record LabelRules(Map<String, Labels> byType, @Nullable Labels others) {
  public static final LabelRules NONE = new LabelRules(Map.of(), null);

  /** What pods must, and what they should carry. */
  public record Labels(Set<String> required, Set<String> preferred) {
    public Labels {
      required = Set.copyOf(required);
      preferred = Set.copyOf(preferred);
    }
  }

  public LabelRules {
    byType = Map.copyOf(byType);
  }

  /** Without rules this is the model's own set, and no object is made. */
  Set<String> required(Model model) {
    Labels rule = rule(model);
    return rule == null ? model.requiredLabels() : union(model.requiredLabels(), rule.required);
  }

  Set<String> preferred(Model model) {
    Labels rule = rule(model);
    return rule == null ? model.preferredLabels() : union(model.preferredLabels(), rule.preferred);
  }

  private @Nullable Labels rule(Model model) {
    return byType.isEmpty() ? others : byType.getOrDefault(model.type(), others);
  }

  private static Set<String> union(Set<String> a, Set<String> b) {
    if (a.isEmpty() || b.containsAll(a)) {
      return b;
    }
    Set<String> all = new HashSet<>(a);
    all.addAll(b);
    return all;
  }
}
