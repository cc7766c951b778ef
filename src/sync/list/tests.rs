use super::*;
use core::ptr::NonNull;

struct Block {
    number: u32,
    next: Pointer<Block>,
    prev: Pointer<Block>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Item(NonNull<Block>);

impl Item {
    fn block(&self) -> &Block {
        // SAFETY: the blocks of a test outlive its lists.
        unsafe { self.0.as_ref() }
    }
}

struct Numbers;

// SAFETY: one field for each link; the tests push and remove in turn.
unsafe impl Links for Numbers {
    type Item = Item;
    type Block = Block;
    type Lock = ();

    fn as_ptr(item: Item) -> *mut Block {
        item.0.as_ptr()
    }

    unsafe fn from_ptr(block: *mut Block) -> Option<Item> {
        NonNull::new(block).map(Item)
    }

    fn next(item: &Item) -> &Pointer<Block> {
        &item.block().next
    }
}

// SAFETY: as above.
unsafe impl DoubleLinks for Numbers {
    fn prev(item: &Item) -> &Pointer<Block> {
        &item.block().prev
    }
}

fn blocks() -> [Block; 4] {
    core::array::from_fn(|number| Block {
        number: u32::try_from(number).unwrap(),
        next: Pointer::new(ptr::null_mut()),
        prev: Pointer::new(ptr::null_mut()),
    })
}

fn items(blocks: &[Block; 4]) -> [Item; 4] {
    blocks.each_ref().map(|block| Item(NonNull::from(block)))
}

fn numbers(items: impl Iterator<Item = Item>) -> Vec<u32> {
    items.map(|item| item.block().number).collect()
}

/// The numbers forwards, which are those backwards reversed.
fn checked(list: &List<Numbers>) -> Vec<u32> {
    let forwards = numbers(list.iter(&()));
    let mut backwards = Vec::new();
    let mut last = NonNull::new(list.last.load(Ordering::Relaxed)).map(Item);
    while let Some(item) = last {
        backwards.push(item.block().number);
        last = NonNull::new(item.block().prev.load(Ordering::Relaxed)).map(Item);
    }
    backwards.reverse();
    assert_eq!(forwards, backwards);
    // SAFETY: the blocks of a test outlive its lists.
    assert_eq!(forwards, numbers(unsafe { list.walk() }));
    forwards
}

#[test]
fn members_stand_in_the_order_of_their_arrival_at_either_side() {
    let blocks = blocks();
    let [a, b, c, d] = items(&blocks);
    let list = List::<Numbers>::new();
    assert!(list.is_empty(&()));
    list.push_back(b, &());
    list.push_front(a, &());
    list.push_back(c, &());
    list.push_back(d, &());
    assert_eq!(checked(&list), [0, 1, 2, 3]);
    assert_eq!(list.pop_front(&()), Some(a));
    assert_eq!(checked(&list), [1, 2, 3]);
    list.forget(&());
    assert_eq!(checked(&list), []);
}

#[test]
fn any_member_can_be_removed_first_middle_and_last() {
    let blocks = blocks();
    let all = items(&blocks);
    for gone in 0..4u32 {
        let list = List::<Numbers>::new();
        all.iter().for_each(|item| list.push_back(*item, &()));
        list.remove(all[gone as usize], &());
        let expected: Vec<u32> = (0..4).filter(|number| *number != gone).collect();
        assert_eq!(checked(&list), expected);
        list.push_front(all[gone as usize], &());
        assert_eq!(checked(&list)[0], gone);
    }
}

#[test]
fn the_member_at_hand_may_be_removed_during_an_iteration() {
    let blocks = blocks();
    let list = List::<Numbers>::new();
    items(&blocks).iter().for_each(|item| list.push_back(*item, &()));
    for item in list.iter(&()) {
        if item.block().number % 2 == 0 {
            list.remove(item, &());
        }
    }
    assert_eq!(checked(&list), [1, 3]);
}

#[test]
fn a_stack_gives_back_what_was_pushed_last() {
    let blocks = blocks();
    let [a, b, c, d] = items(&blocks);
    let stack = Stack::<Numbers>::new();
    [a, b, c].iter().for_each(|item| stack.push(*item, &()));
    assert_eq!(stack.pop(&()), Some(c));
    stack.push(d, &());
    assert_eq!(numbers(stack.iter(&())), [3, 1, 0]);
    assert!(stack.remove(b, &()));
    assert!(!stack.remove(b, &()));
    assert!(stack.remove(d, &()));
    let taken = stack.take(&());
    assert!(stack.is_empty(&()));
    assert_eq!(numbers(taken.iter(&())), [0]);
    assert_eq!(taken.pop(&()), Some(a));
    assert_eq!(taken.pop(&()), None);
}
