/** The head of a column of buttons: their words say it to the eye, and this to a screen reader. */
export const ActionHeader = () => (
  <th>
    <span class="visually-hidden">Action</span>
  </th>
);
