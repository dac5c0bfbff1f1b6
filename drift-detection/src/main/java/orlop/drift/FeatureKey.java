package orlop.drift;

/**
 * One input feature of a model.
 *
 * @param tensor name of the input tensor
 * @param index column inside a row of it, row-major, from 0
 */
record FeatureKey(String tensor, int index) {
  @Override
  public String toString() {
    return tensor + "/" + index;
  }
}
