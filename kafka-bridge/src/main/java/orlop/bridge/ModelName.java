package orlop.bridge;

/**
 * How a record names its model.
 *
 * @param name model id or alias; empty when the message must name it
 * @param alias whether {@code name} is an alias
 */
record ModelName(String name, boolean alias) {
  static final ModelName NONE = new ModelName("", false);
}
